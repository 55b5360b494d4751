"""A bank of prompt vectors: prompts embedded once, so that no text model is needed to use them."""

from __future__ import annotations

import difflib
import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from voxtell_dicom.errors import ModelError, UnknownPrompt

FILE = "text_embeddings.npz"
Vector = npt.NDArray[Any]  # float16 from a bank, float32 fresh from the text model


class Bank:
    """Prompt (lower case) → vector. Prompts are compared in lower case, as the model was trained on it."""

    def __init__(self, vectors: Mapping[str, Vector]) -> None:
        self._vectors = {prompt.lower(): np.asarray(vector) for prompt, vector in vectors.items()}

    @classmethod
    def read(cls, path: Path) -> Bank:
        """Read an .npz with `labels` (N) and `embeddings` (N, width), the official format. Raises ModelError."""
        try:
            if path.is_file() and not zipfile.is_zipfile(path):
                raise ModelError(
                    f"{path} is not a bank of prompt embeddings: not an .npz file, or one that is cut short"
                )
            with np.load(path, allow_pickle=False) as data:
                labels, embeddings = data["labels"], data["embeddings"]
        except FileNotFoundError:
            raise ModelError(f"{path} is missing: give a bank of prompt embeddings (.npz)") from None
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise ModelError(f"{path} is not a bank of prompt embeddings: {error}") from error
        if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
            raise ModelError(f"{path}: {labels.shape} labels and {embeddings.shape} embeddings do not go together")
        if embeddings.dtype.kind != "f":
            raise ModelError(f"{path}: the embeddings must be numbers with a fraction, not {embeddings.dtype}")
        if not np.isfinite(embeddings).all():
            raise ModelError(f"{path}: the embeddings hold values that are not finite")
        return cls({str(label): vector for label, vector in zip(labels, embeddings, strict=True)})

    def write(self, path: Path) -> None:
        """Write it in the official format, to just this path: all of it, or what is there stays."""
        prompts = self.prompts
        rows = np.stack([self._vectors[p] for p in prompts]) if prompts else np.zeros((0, 0))
        partial = path.with_name(path.name + ".partial")
        try:
            with partial.open("wb") as file:  # of a name without .npz, numpy would make another
                np.savez_compressed(file, labels=np.array(prompts, dtype=np.str_), embeddings=rows.astype(np.float16))
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def merged(self, other: Mapping[str, Vector]) -> Bank:
        """This bank and `other`'s prompts; `other` wins."""
        return Bank({**self._vectors, **{prompt.lower(): vector for prompt, vector in other.items()}})

    @property
    def prompts(self) -> list[str]:
        """All prompts, sorted."""
        return sorted(self._vectors)

    @property
    def width(self) -> int | None:
        """Values of a vector; None where the bank is empty."""
        return next((v.shape[0] for v in self._vectors.values()), None)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over prompts and values."""
        sha = hashlib.sha256()
        for prompt in self.prompts:
            sha.update(prompt.encode() + b"\0")
            sha.update(self._vectors[prompt].tobytes())
        return sha.hexdigest()

    def __contains__(self, prompt: str) -> bool:
        return prompt.lower() in self._vectors

    def __len__(self) -> int:
        return len(self._vectors)

    def vectors(self, prompts: Sequence[str]) -> npt.NDArray[np.float32]:
        """(N, width) float32. Raises UnknownPrompt with the nearest prompts that are in the bank."""
        rows = []
        for prompt in prompts:
            if prompt not in self:
                near = self.nearest(prompt)
                hint = f"; near it: {', '.join(near)}" if near else ""
                raise UnknownPrompt(f"the model's bank does not hold the prompt {prompt!r}{hint}")
            rows.append(self._vectors[prompt.lower()])
        return np.stack(rows).astype(np.float32)

    def nearest(self, prompt: str, count: int = 5) -> list[str]:
        """Prompts of the bank that hold the word or are spelt like it, best first."""
        word = prompt.lower()
        inside = sorted((p for p in self._vectors if word in p), key=len)
        alike = difflib.get_close_matches(word, self.prompts, n=count, cutoff=0.6)
        return list(dict.fromkeys(inside + alike))[:count]

    def nearest_by_vector(self, vector: npt.NDArray[np.float32], count: int = 5) -> list[tuple[str, float]]:
        """Prompts of the bank whose vectors point most nearly the way of `vector` (width), and the cosine of the angle.

        Raises ModelError where the widths differ.
        """
        if self.width is None:
            return []
        if vector.shape != (self.width,):
            raise ModelError(f"the text model's vectors have {vector.shape[0]} values, the bank's {self.width}")
        prompts = self.prompts
        rows = np.stack([self._vectors[prompt] for prompt in prompts]).astype(np.float32)
        lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(vector)
        cosines = rows @ vector / np.maximum(lengths, np.finfo(np.float32).tiny)
        return [(prompts[i], float(cosines[i])) for i in np.argsort(-cosines, kind="stable")[:count]]


EMPTY = Bank({})


def find_bank(directory: Path) -> Path | None:
    """The bank beside a model: text_embeddings.npz in it, the hub snapshot's, or the only .npz there. None if none."""
    for candidate in (directory / FILE, directory.parent / "embeddings" / directory.name / FILE):
        if candidate.is_file():
            return candidate
    others = sorted(directory.glob("*.npz"))
    return others[0] if len(others) == 1 else None

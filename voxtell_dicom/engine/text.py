"""Prompts to vectors with Qwen3-Embedding-4B, as VoxTell was trained: loaded when asked, released by leaving.

Wrapped as an instruction and a query, padded on the left, the last token's state, not normalised; bfloat16 on CUDA,
float32 on a CPU. https://huggingface.co/Qwen/Qwen3-Embedding-4B
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from voxtell_dicom.engine.bank import Bank
from voxtell_dicom.errors import ModelError

QWEN = "Qwen/Qwen3-Embedding-4B"
_INSTRUCTION = "Given an anatomical term query, retrieve the precise anatomical entity and location it represents"
_BATCH = 32
_MAX_TOKENS = 8192


def wrapped(prompt: str) -> str:
    """The text that the model reads for a prompt."""
    return f"Instruct: {_INSTRUCTION}\nQuery: {prompt.lower()}"


class TextModel:
    """A context that holds the text model; leaving it frees the memory.

    with TextModel(device=torch.device("cpu")) as text:
        vectors = text.embed(["liver"])
    """

    def __init__(self, name_or_path: str = QWEN, device: torch.device | None = None, *, offline: bool = False) -> None:
        """name_or_path: on the hub, or a local folder. offline: never ask the network."""
        self._name = name_or_path
        self._device = device or torch.device("cpu")
        self._offline = offline
        self._tokenizer: Any = None
        self._model: Any = None

    def __enter__(self) -> TextModel:
        """Load it. Raises ModelError where it cannot be had."""
        from transformers import AutoModel, AutoTokenizer

        dtype = torch.bfloat16 if self._device.type == "cuda" else torch.float32
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(
                self._name, padding_side="left", local_files_only=self._offline
            )
            model = AutoModel.from_pretrained(self._name, dtype=dtype, local_files_only=self._offline)
        except (OSError, ValueError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ModelError(f"the text model {self._name} cannot be loaded: {first}") from error
        self._model = model.eval().to(self._device)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tokenizer = self._model = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    @torch.inference_mode()
    def embed(self, prompts: Sequence[str]) -> npt.NDArray[np.float32]:
        """(N, width) float32, one vector per prompt; the official model's width is 2560."""
        rows = []
        for start in range(0, len(prompts), _BATCH):
            texts = [wrapped(prompt) for prompt in prompts[start : start + _BATCH]]
            tokens = self._tokenizer(
                texts, padding=True, truncation=True, max_length=_MAX_TOKENS, return_tensors="pt"
            ).to(self._device)
            states = self._model(**tokens).last_hidden_state
            rows.append(states[:, -1].float().cpu().numpy())  # padded on the left: the last token is the last
        result: npt.NDArray[np.float32] = np.concatenate(rows)
        return result


def complete(bank: Bank, prompts: Sequence[str], text_model: str = QWEN, device: torch.device | None = None) -> Bank:
    """The bank with vectors for all of `prompts`: those that it lacks are embedded, the text model held only meanwhile.

    Raises ModelError where prompts are missing and the text model cannot be had; the message names them.
    """
    missing = list(dict.fromkeys(prompt.lower() for prompt in prompts if prompt not in bank))
    if not missing:
        return bank
    try:
        with TextModel(text_model, device) as text:
            vectors = text.embed(missing)
    except ModelError as error:
        raise ModelError(f"not in the bank: {', '.join(map(repr, missing))}; and {error}") from error
    return bank.merged(dict(zip(missing, vectors, strict=True)))

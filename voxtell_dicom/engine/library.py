"""Model directories on this machine: import once, say what they are, check that they are whole."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from voxtell_dicom.engine.bank import FILE as BANK_FILE
from voxtell_dicom.engine.bank import Bank, find_bank
from voxtell_dicom.engine.checkpoint import PICKLE, SAFETENSORS, Checkpoint, convert, load_checkpoint, stored_digest
from voxtell_dicom.errors import ModelError
from voxtell_dicom.files import sha256_of

HUB_REPOSITORY = "mrokuss/VoxTell"
HUB_MODEL = "voxtell_v1.1"
OFFICIAL_LICENCE = "CC-BY-NC-SA-4.0"
UNKNOWN_LICENCE = "unknown: ask whoever made the weights"
RECORD = "model.json"
ENVIRONMENT = "VOXTELL_MODEL"


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a model directory."""

    name: str
    directory: str
    digest: str  # of the weights: the part of the engine's identity
    licence: str
    patch_size: tuple[int, int, int]
    parameters: int
    prompts: int  # in its bank
    format: str  # "safetensors" or "pickle"
    source: str = ""
    source_sha256: str = ""  # of the checkpoint file that was imported


def named_directory(argument: Path | None) -> Path:
    """The model directory that was asked for: the argument, else VOXTELL_MODEL. Raises ModelError where neither is."""
    value = argument or os.environ.get(ENVIRONMENT)
    if not value:
        raise ModelError(f"no model: name a model directory, or set {ENVIRONMENT} to one")
    directory = Path(value).expanduser()
    if not directory.is_dir():
        raise ModelError(f"model directory {directory} does not exist")
    return directory


def inspect_model(directory: Path) -> ModelInfo:
    """Load the directory's weights (memory-mapped) and say what they are. Raises ModelError."""
    checkpoint = load_checkpoint(directory)
    record = _record(directory)
    bank = find_bank(directory)
    return ModelInfo(
        name=str(record.get("name") or directory.name),
        directory=str(directory),
        digest=checkpoint.digest,
        licence=str(record.get("licence") or _licence(directory)),
        patch_size=checkpoint.plans.patch_size,
        parameters=sum(p.numel() for p in checkpoint.network.parameters()),
        prompts=len(Bank.read(bank)) if bank else 0,
        format="safetensors" if (directory / SAFETENSORS).is_file() else "pickle",
        source=str(record.get("source", "")),
        source_sha256=str(record.get("source_sha256", "")),
    )


def import_model(source: Path, models: Path, name: str | None = None) -> ModelInfo:
    """Check `source` (an official directory, or a hub snapshot that holds one) and put it below `models`/name.

    The weights that inference needs are written as safetensors, beside plans.json, the bank and a record of where they
    came from. An import that fails leaves nothing. Raises ModelError.
    """
    if name and (Path(name).name != name or name.startswith(".")):
        raise ModelError(f"{name!r} is no name for a directory below {models}")
    directory = _model_in(source)
    target = models / (name or directory.name)
    if target.exists():
        raise ModelError(f"{target} is there already: give another name, or remove it first")
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        bank = find_bank(directory)
        if wrong := _faults(directory, load_checkpoint(directory), bank):
            raise ModelError("; ".join(wrong))
        shutil.copy(directory / "plans.json", partial / "plans.json")
        if (directory / PICKLE).is_file():
            weights = directory / PICKLE
            convert(directory, partial)
        else:
            weights = directory / SAFETENSORS
            shutil.copy(weights, partial / SAFETENSORS)
        if bank is not None:
            shutil.copy(bank, partial / BANK_FILE)
        record = {
            "name": target.name,
            "source": str(directory.resolve()),
            "source_sha256": sha256_of(weights),
            "licence": _licence(directory),
        }
        (partial / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        info = inspect_model(partial)
        partial.rename(target)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError):
            raise ModelError(f"{directory} cannot be imported as {target}: {error}") from error
        raise
    return ModelInfo(**{**asdict(info), "directory": str(target), "name": target.name})


def download_model(models: Path, repository: str = HUB_REPOSITORY, name: str = HUB_MODEL) -> ModelInfo:
    """Fetch a model and its bank from the Hugging Face Hub and import it. Raises ModelError where that fails."""
    return import_model(published_model(repository, name), models)


def published_model(repository: str = HUB_REPOSITORY, name: str = HUB_MODEL) -> Path:
    """The official model directory, from the hub or its cache. Raises ModelError where it cannot be had."""
    from huggingface_hub import snapshot_download

    try:
        local = snapshot_download(repository, allow_patterns=[f"{name}/*", f"embeddings/{name}/*", "README.md"])
    except Exception as error:  # the hub client raises many kinds: all of them mean that nothing was fetched
        raise ModelError(
            f"{repository} could not be downloaded ({type(error).__name__}: {error}); without a network, copy "
            "the model directory here and use 'model import'"
        ) from error
    return Path(local) / name


def published_bank(repository: str = HUB_REPOSITORY, name: str = HUB_MODEL) -> Path:
    """The official bank, from the hub or its cache. Raises ModelError where it cannot be had."""
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repository, f"embeddings/{name}/{BANK_FILE}"))
    except Exception as error:  # the hub client raises many kinds: all of them mean that nothing was fetched
        raise ModelError(f"the published bank cannot be downloaded ({type(error).__name__})") from error


def list_models(models: Path) -> list[Path]:
    """Model directories below `models`."""
    if not models.is_dir():
        return []
    return sorted(path.parent for path in models.glob("*/plans.json"))


def verify_model(directory: Path) -> list[str]:
    """What is wrong with a model directory; nothing where it is whole. Reads all of it."""
    try:
        bank = find_bank(directory)
        wrong = _faults(directory, load_checkpoint(directory), bank)
        if bank is None:
            wrong.append(f"{directory}: no bank of prompts ({BANK_FILE}): every prompt needs the text model")
    except ModelError as error:
        return [str(error)]
    return wrong


def _faults(directory: Path, checkpoint: Checkpoint, bank: Path | None) -> list[str]:
    """What is wrong with weights that fit their plans, and with the bank beside them."""
    wrong = []
    weights = directory / SAFETENSORS
    if weights.is_file():
        stated, real = stored_digest(weights)
        if stated and stated != real:
            wrong.append(f"{weights}: the weights are damaged: their digest is {real}, it was {stated}")
    odd = [name for name, tensor in checkpoint.network.state_dict().items() if not bool(tensor.isfinite().all())]
    if odd:
        wrong.append(f"{directory}: weights that are not finite numbers, in {len(odd)} tensors; the first is {odd[0]}")
    width, wanted = Bank.read(bank).width if bank else None, checkpoint.plans.sizes.text_embedding_dim
    if width not in (None, wanted):
        wrong.append(f"{bank}: the bank's vectors have {width} values, the model wants {wanted}")
    return wrong


def _model_in(source: Path) -> Path:
    if (source / "snapshots").is_dir():  # a repository's folder in the hub's own cache
        source = _snapshot_in(source)
    for candidate in (source, source / HUB_MODEL):
        if (candidate / "plans.json").is_file():
            return candidate
    inside = sorted(path.parent for path in source.glob("*/plans.json"))
    if len(inside) == 1:
        return inside[0]
    names = ", ".join(path.name for path in inside)
    raise ModelError(f"{source} holds {'several models, name one: ' + names if inside else 'no plans.json'}")


def _snapshot_in(repository: Path) -> Path:
    """The snapshot of a repository that the hub's cache calls main, else the only one."""
    snapshots = sorted((repository / "snapshots").iterdir())
    with contextlib.suppress(OSError):
        main = repository / "snapshots" / (repository / "refs" / "main").read_text(encoding="utf-8").strip()
        snapshots = [main] if main in snapshots else snapshots
    if len(snapshots) != 1:
        raise ModelError(f"{repository} holds {len(snapshots)} snapshots: name one of them")
    return snapshots[0]


def _record(directory: Path) -> dict[str, Any]:
    try:
        data = json.loads((directory / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _licence(directory: Path) -> str:
    """What the model card beside the weights states; the official repository's licence for its own snapshots."""
    for card in (directory / "README.md", directory.parent / "README.md"):
        if not card.is_file():
            continue
        if found := re.search(r"(?m)^license:\s*(\S+)", card.read_text(encoding="utf-8", errors="replace")):
            return found[1]
    return OFFICIAL_LICENCE if directory.name.startswith("voxtell_v") else UNKNOWN_LICENCE

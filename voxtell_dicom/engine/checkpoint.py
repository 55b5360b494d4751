"""A model directory's weights: the official pickle read with an allow-list, or the safetensors file made from it."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from voxtell_dicom.engine.network import VoxTellNetwork
from voxtell_dicom.engine.network.state import is_alias, is_unused
from voxtell_dicom.engine.plans import Plans, read_plans
from voxtell_dicom.errors import ModelError

PICKLE = Path("fold_0") / "checkpoint_final.pth"
SAFETENSORS = "model.safetensors"
_DIGEST = "voxtell_dicom_digest"
_SHOWN = 5
_LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class Checkpoint:
    """A network with its weights, on the CPU, in eval mode; `digest` is SHA-256 over names, shapes and values."""

    network: VoxTellNetwork
    plans: Plans
    digest: str


def load_checkpoint(directory: Path) -> Checkpoint:
    """Load `directory`: plans.json and model.safetensors, or else fold_0/checkpoint_final.pth.

    Weights stay memory-mapped where the file has them in float32 (replace such a file by a rename, never write into
    it); other types are converted. Raises ModelError where a file is missing, wants more of the pickle than the
    allow-list, or holds tensors that do not match the plans.
    """
    plans = read_plans(directory)
    if (directory / SAFETENSORS).is_file():
        tensors, digest = _read_safetensors(directory / SAFETENSORS)
    else:
        tensors, digest = _needed(read_pickle(directory / PICKLE)), ""
    network = _built(plans, directory)
    _check(network, tensors, directory)
    digest = digest or tensor_digest(tensors)
    network.load_state_dict(tensors, strict=False, assign=True)  # not strict: aliases follow their first names
    network.float()
    network.eval().requires_grad_(False)
    return Checkpoint(network, plans, digest)


def read_pickle(path: Path) -> dict[str, torch.Tensor]:
    """The network weights of an nnU-Net checkpoint, memory-mapped; nothing of the file is executed."""
    if not path.is_file():
        raise ModelError(f"{path} is missing: a model directory holds plans.json and {PICKLE} (or {SAFETENSORS})")
    if not zipfile.is_zipfile(path):
        raise ModelError(f"{path} is not a torch checkpoint: {_what_it_is(path)}")
    try:
        with torch.serialization.safe_globals(_safe_globals()):
            data = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise ModelError(f"{path} wants to run code that no checkpoint needs, refused: {_first_line(error)}") from error
    except (OSError, RuntimeError, ValueError, EOFError) as error:
        raise ModelError(f"{path} is not a torch checkpoint: {_first_line(error)}") from error
    weights = data.get("network_weights") if isinstance(data, dict) else None
    if not isinstance(weights, Mapping) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise ModelError(f"{path} holds no 'network_weights': it is not a checkpoint written by nnU-Net")
    # torch.compile prefixes every name; nnU-Net strips it, older writers did not.
    return {str(name).removeprefix("_orig_mod."): tensor for name, tensor in weights.items()}


def convert(source: Path, target: Path) -> str:
    """Write `source`'s weights that inference needs to `target` as safetensors; returns the digest.

    source, target: directories; `source` has been checked by `load_checkpoint`.
    """
    tensors = {name: tensor.contiguous() for name, tensor in _needed(read_pickle(source / PICKLE)).items()}
    digest = tensor_digest(tensors)
    partial = target / (SAFETENSORS + ".partial")
    save_file(tensors, partial, metadata={"format": "pt", _DIGEST: digest})
    partial.replace(target / SAFETENSORS)
    return digest


def tensor_digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 (hex) over names, types, shapes and values: the same from a pickle and from its safetensors."""
    sha = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        sha.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        sha.update(tensor.flatten().view(torch.uint8).numpy().data)
    return sha.hexdigest()


def stored_digest(path: Path) -> tuple[str, str]:
    """(digest that a safetensors file states, digest of what it holds): they differ in a damaged file."""
    tensors, stated = _read_safetensors(path)
    return stated, tensor_digest(tensors)


def _needed(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in tensors.items() if not is_alias(name) and not is_unused(name)}


def _read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], str]:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            return tensors, (file.metadata() or {}).get(_DIGEST, "")
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} cannot be read: {_first_line(error)}") from error


def _built(plans: Plans, directory: Path) -> VoxTellNetwork:
    """The network without weights. Raises ModelError where the plans make none."""
    try:
        with torch.device("meta"):
            return VoxTellNetwork(plans.sizes, plans.arch_kwargs, plans.patch_size)
    except ModelError as error:
        raise ModelError(f"{directory / 'plans.json'}: {error}") from error
    except Exception as error:  # torch and nnU-Net raise many kinds, assertions among them
        why = f"{type(error).__name__}: {_first_line(error)}"
        raise ModelError(f"{directory / 'plans.json'}: no network can be built from it: {why}") from error


def _check(network: VoxTellNetwork, tensors: Mapping[str, torch.Tensor], directory: Path) -> None:
    expected = {name: tuple(t.shape) for name, t in network.state_dict().items() if not is_alias(name)}
    wrong = [f"{name} is missing" for name in expected if name not in tensors]
    wrong += [f"{name} is not part of such a network" for name in tensors if name not in expected]
    wrong += [
        f"{name} is {list(tensor.shape)}, the plans want {list(expected[name])}"
        for name, tensor in tensors.items()
        if name in expected and tuple(tensor.shape) != expected[name]
    ]
    if wrong:
        more = f" (and {len(wrong) - _SHOWN} more)" if len(wrong) > _SHOWN else ""
        raise ModelError(f"{directory}: the weights do not match plans.json: {'; '.join(wrong[:_SHOWN])}{more}")


def _safe_globals() -> list[Any]:
    """What an nnU-Net checkpoint holds beside tensors: numpy scalars in its log."""
    try:
        from numpy._core.multiarray import scalar
    except ImportError:  # numpy 1
        from numpy.core.multiarray import scalar  # type: ignore[no-redef]
    dtypes = [type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.bool_)]
    return [(scalar, "numpy.core.multiarray.scalar"), scalar, np.dtype, *dtypes]


def _what_it_is(path: Path) -> str:
    """A file that is no zip file, as torch writes checkpoints, in words."""
    with path.open("rb") as file:
        if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
            return "it is Git LFS's pointer to one; fetch the file itself with 'git lfs pull'"
    return f"its {path.stat().st_size} bytes are no zip file, or one that is cut short; is the copy whole?"


def _first_line(error: BaseException) -> str:
    text = str(error)
    for line in text.splitlines():
        if "Unsupported global" in line or "GLOBAL" in line:
            return line.strip()
    return text.splitlines()[0] if text else type(error).__name__

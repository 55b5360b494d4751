"""The engine: arrays in, masks out. It knows no DICOM, and importing this package imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import voxtell_dicom
from voxtell_dicom.errors import ModelError
from voxtell_dicom.model import Engine

__all__ = ["open_engine", "phantom_directory", "worker_environment"]


def open_engine(
    *,
    directory: str | Path | None = None,
    kind: Literal["phantom", "threshold"] | None = None,
    bank: str | Path | None = None,
    device: str = "auto",
    exact: bool = False,
) -> Engine:
    """The engine that the `model` section of node.yaml asks for, loaded and ready.

    directory: a VoxTell model directory; or kind: the bundled phantom model or the threshold engine. bank: an .npz of
    prompt vectors, by default the one beside the model. device: auto, cpu, cuda, cuda:N. exact: the plain, slower path.
    Raises ModelError where it cannot be loaded.
    """
    if (directory is None) == (kind is None):
        raise ModelError("give either a model directory or a kind of engine (phantom, threshold)")
    if kind == "threshold":
        from voxtell_dicom.engine.threshold import ThresholdEngine

        return ThresholdEngine()
    from voxtell_dicom.engine.predictor import Predictor

    where = phantom_directory() if directory is None else Path(directory).expanduser()
    return Predictor.load(where, Path(bank) if bank else None, device, exact=exact)


def phantom_directory() -> Path:
    """Where the bundled phantom model lies: package data, no use on patients."""
    return Path(voxtell_dicom.__file__).parent / "phantom" / "model"


def worker_environment() -> dict[str, str]:
    """Environment variables for whoever starts a process that runs an engine.

    glibc maps and unmaps buffers of 100 MB at each operation, a third of the time on a CPU; these keep freed memory in
    the process. Threads that wait sleep instead of spinning.
    """
    return {
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": "100000000000",
        "MALLOC_TOP_PAD_": "1000000000",
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "0",
    }

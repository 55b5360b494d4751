"""The engine: arrays in, masks out. It knows no DICOM, and importing this package imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import voxtell_dicom
from voxtell_dicom.engine.allocator import keep_freed_memory, return_freed_memory, worker_environment
from voxtell_dicom.errors import ModelError
from voxtell_dicom.model import Engine

__all__ = ["keep_freed_memory", "open_engine", "phantom_directory", "return_freed_memory", "worker_environment"]


def open_engine(
    *,
    directory: str | Path | None = None,
    kind: Literal["phantom", "threshold"] | None = None,
    bank: str | Path | None = None,
    device: str = "auto",
    text_model: str | None = None,
    storage: str | Path | None = None,
    **options: Any,
) -> Engine:
    """The engine that the `model` section of node.yaml asks for, loaded and ready.

    directory: a VoxTell model directory; or kind: the bundled phantom model or the threshold engine. bank: an .npz of
    prompt vectors, by default the one beside the model. device: auto, cpu, cuda, cuda:N. text_model: embeds prompts
    that are not in the bank. storage: a folder where what is measured on a card is stored. options: those of
    `engine.options.Options`, of no meaning to the threshold engine.
    Raises ModelError where it cannot be loaded.
    """
    if (directory is None) == (kind is None):
        raise ModelError("give either a model directory or a kind of engine (phantom, threshold)")
    if kind == "threshold":
        from voxtell_dicom.engine.threshold import ThresholdEngine

        return ThresholdEngine()
    from voxtell_dicom.engine.predictor import Predictor

    where = phantom_directory() if directory is None else Path(directory).expanduser()
    stored = Path(storage) if storage else None
    return Predictor.load(where, Path(bank) if bank else None, device, text_model, stored, **options)


def phantom_directory() -> Path:
    """Where the bundled phantom model lies: package data, no use on patients."""
    return Path(voxtell_dicom.__file__).parent / "phantom" / "model"

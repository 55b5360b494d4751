"""A synthetic patient with known anatomy, its DICOM writer, its exact truth, and the small model trained on it."""

from __future__ import annotations

from pathlib import Path

from voxtell_dicom.errors import ModelError
from voxtell_dicom.phantom.acquisition import Acquisition, demo_acquisition
from voxtell_dicom.phantom.anatomy import LABELS, Anatomy, torso
from voxtell_dicom.phantom.truth import TruthEngine, label_of, truth_mask, write_truth
from voxtell_dicom.phantom.writer import write_series

__all__ = [
    "LABELS",
    "Acquisition",
    "Anatomy",
    "TruthEngine",
    "demo_acquisition",
    "label_of",
    "model_directory",
    "torso",
    "truth_mask",
    "write_series",
    "write_truth",
]


def model_directory() -> Path:
    """The bundled model: an official model directory with our sizes, its bank beside it. NO USE ON PATIENTS.

    Raises ModelError where the package was built without it.
    """
    directory = Path(__file__).parent / "model"
    if not (directory / "plans.json").is_file():
        raise ModelError(f"{directory} holds no model: this installation lacks its package data, install it again")
    return directory

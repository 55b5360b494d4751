"""A synthetic patient with known anatomy, its DICOM writer, its exact truth, and the small model trained on it."""

from __future__ import annotations

from voxtell_dicom.phantom.acquisition import Acquisition, demo_acquisition
from voxtell_dicom.phantom.anatomy import LABELS, Anatomy, torso
from voxtell_dicom.phantom.truth import label_of, truth_mask, write_truth
from voxtell_dicom.phantom.writer import write_series

__all__ = [
    "LABELS",
    "Acquisition",
    "Anatomy",
    "demo_acquisition",
    "label_of",
    "torso",
    "truth_mask",
    "write_series",
    "write_truth",
]

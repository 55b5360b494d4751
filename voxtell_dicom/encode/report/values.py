"""What the values of source frames measure (HU, SUV, signal), and their rescaling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut

from voxtell_dicom.dicom import suv
from voxtell_dicom.dicom.suv_frames import frame_header
from voxtell_dicom.errors import Refusal
from voxtell_dicom.terms.terminology import Code

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Quantity:
    """What the values of a modality are: name and unit in codes, and the factor from rescaled values to it."""

    name: Code
    unit: Code
    factor: float = 1.0


def quantity_of(modality: str, header: Dataset) -> Quantity | None:
    """HU for CT, SUV by body weight for PET where the header allows it, signal for MR; None where it means nothing."""
    if modality == "CT":
        unit = Code("[hnsf'U]", "UCUM", "Hounsfield unit")
        return Quantity(Code("112031", "DCM", "Attenuation Coefficient"), unit)
    if modality == "MR":
        return Quantity(Code("110852", "DCM", "MR signal intensity"), Code("1", "UCUM", "no units"))
    factor = suv_factor(header) if modality == "PT" else None
    if factor is None:
        return None
    unit = Code("{SUVbw}g/ml", "UCUM", "Standardized Uptake Value body weight")
    return Quantity(Code("126401", "DCM", "SUVbw"), unit, factor)


def suv_factor(header: Dataset) -> float | None:
    """From rescaled values to SUV by body weight (g/mL); None where the header does not say (see `suv.py`)."""
    try:
        return suv.suv_factor(frame_header(header, 1))  # of multi-frame objects, as the first frame says
    except Refusal:
        return None


def real_values(ds: Dataset, stored: npt.NDArray[Any], number: int) -> Floats:
    """Stored values of frame `number` (from 1), rescaled: by its functional groups, else as the top level says.

    PS3.3 C.7.6.16.2.9 (Pixel Value Transformation), C.11.1 (Modality LUT).
    """
    if ds.get("ModalityLUTSequence"):
        return np.asarray(apply_modality_lut(stored, ds), np.float32)
    slope, intercept = (frame_attribute(ds, number, word) for word in ("RescaleSlope", "RescaleIntercept"))
    scale, offset = np.float32(1 if slope is None else slope), np.float32(0 if intercept is None else intercept)
    return np.asarray(stored.astype(np.float32) * scale + offset, np.float32)


def frame_attribute(ds: Dataset, number: int, keyword: str) -> Any:
    """An attribute of frame `number`: in its own functional groups, else in the shared ones, else at the top level."""
    groups = [*list(ds.get("PerFrameFunctionalGroupsSequence") or [])[number - 1 : number]]
    groups += list(ds.get("SharedFunctionalGroupsSequence") or [])[:1]
    macros = ("PlanePositionSequence", "PixelValueTransformationSequence")
    items = [item for group in groups for name in macros for item in group.get(name) or []]
    return next((item.get(keyword) for item in (*items, ds) if item.get(keyword) is not None), None)

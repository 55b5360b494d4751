"""Quantities that the values of source frames measure (HU, SUV, signal)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from voxtell_dicom.dicom import suv
from voxtell_dicom.dicom.attributes import get, text
from voxtell_dicom.dicom.functional_groups import frame_header, frame_value
from voxtell_dicom.errors import Refusal
from voxtell_dicom.terms.terminology import Code

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Quantity:
    """The quantity that a modality measures: name and unit in codes, and the factor from rescaled values to it."""

    name: Code
    unit: Code
    factor: float = 1.0


def quantity_of(modality: str, header: Dataset) -> Quantity | None:
    """Return HU or SUV by body weight where the header says that the values are, signal for MR; None for others."""
    if modality not in ("MR", "PT") and _type_of_values(modality, header) == "HU":
        unit = Code("[hnsf'U]", "UCUM", "Hounsfield unit")
        return Quantity(Code("112031", "DCM", "Attenuation Coefficient"), unit)
    if modality == "MR":
        return Quantity(Code("110852", "DCM", "MR signal intensity"), Code("1", "UCUM", "no units"))
    factor = suv_factor(header) if modality == "PT" else None
    if factor is None:
        return None
    unit = Code("{SUVbw}g/ml", "UCUM", "Standardized Uptake Value body weight")
    return Quantity(Code("126401", "DCM", "SUVbw"), unit, factor)


def _type_of_values(modality: str, header: Dataset) -> str:
    """Return the type of the rescaled values: that of the Modality LUT, or Rescale Type; of CT HU by default.

    PS3.3 C.11.1, C.8.2.1.
    """
    tables = get(header, "ModalityLUTSequence")
    if tables:
        return text(tables[0], "ModalityLUTType")
    return str(frame_value(header, 1, "RescaleType") or ("HU" if modality == "CT" else "")).strip()


def suv_factor(header: Dataset) -> float | None:
    """From rescaled values to SUV by body weight (g/mL); None where the header does not say (see `suv.py`)."""
    try:
        return suv.suv_factor(frame_header(header, 1))  # of multi-frame objects, as the first frame says
    except Refusal:
        return None

"""Rescaled values of source frames, decoded one at a time, and what they measure (HU, SUV, signal)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset

from voxtell_dicom import suv
from voxtell_dicom.decoders.choice import pixel_array
from voxtell_dicom.encode.terminology import Code
from voxtell_dicom.errors import Refusal
from voxtell_dicom.model import Volume
from voxtell_dicom.suv_frames import frame_header

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


def frame_values(volume: Volume, wanted: set[int]) -> Iterator[tuple[int, Floats]]:
    """(index in `volume.frames`, rescaled values (row, column)) of the wanted frames; each file is decoded once."""
    by_path: dict[Any, list[int]] = {}
    for index in sorted(wanted):
        by_path.setdefault(volume.frames[index].path, []).append(index)
    for path, indices in by_path.items():
        ds = pydicom.dcmread(path)
        pixels = pixel_array(ds).reshape(-1, ds.Rows, ds.Columns)
        for index in indices:
            number = volume.frames[index].number
            slope, intercept = rescale_of(ds, number)
            yield index, pixels[number - 1].astype(np.float32) * np.float32(slope) + np.float32(intercept)


def rescale_of(ds: Dataset, number: int) -> tuple[float, float]:
    """Rescale slope and intercept of frame `number` (from 1), at the top level or in the functional groups."""
    slope, intercept = frame_attribute(ds, number, "RescaleSlope"), frame_attribute(ds, number, "RescaleIntercept")
    return float(1 if slope is None else slope), float(0 if intercept is None else intercept)


def frame_attribute(ds: Dataset, number: int, keyword: str) -> Any:
    """An attribute of frame `number`: at the top level, else in its own, then in the shared functional groups."""
    places = [ds]
    if "PerFrameFunctionalGroupsSequence" in ds:
        for group in (ds.PerFrameFunctionalGroupsSequence[number - 1], ds.SharedFunctionalGroupsSequence[0]):
            for name in ("PlanePositionSequence", "PixelValueTransformationSequence"):
                places += list(group.get(name) or [])
    return next((place.get(keyword) for place in places if place.get(keyword) is not None), None)

"""The header of one frame of a multi-frame PET object, flat, as `suv.py` takes it: PS3.3 C.8.22, A.70 (legacy)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydicom.dataset import Dataset
from pydicom.valuerep import DT

from voxtell_dicom.dicom.elements import sound_elements

BQML = ("Bq/ml", "Bq/mL")  # UCUM


def frame_header(header: Dataset, frame: int) -> Dataset:
    """What is stated about a frame (from 1); the header itself where it has no frames.

    Legacy Converted objects keep what the classic ones said in sequences of unassigned attributes. Enhanced ones say
    the same by other attributes: the unit beside a real world value map that is the rescale itself, corrections by
    YES, the time of decay correction outright.
    """
    if "PerFrameFunctionalGroupsSequence" not in header:
        return header
    flat = Dataset()
    for item in reversed([*_items(header, frame), header]):
        for element in sound_elements(item):
            if element.tag.group not in (0x5200, 0x7FE0):
                flat[element.tag] = element
    if flat.get("FrameAcquisitionDateTime"):
        acquired = DT(str(flat.FrameAcquisitionDateTime)[:21])
        flat.AcquisitionDate, flat.AcquisitionTime = f"{acquired:%Y%m%d}", f"{acquired:%H%M%S.%f}"
    if not flat.get("ActualFrameDuration") and flat.get("FrameAcquisitionDuration"):
        flat.ActualFrameDuration = str(round(float(flat.FrameAcquisitionDuration)))
    if not flat.get("CorrectedImage"):
        pairs = (("DECY", "DecayCorrected"), ("ATTN", "AttenuationCorrected"))
        flat.CorrectedImage = [word for word, keyword in pairs if flat.get(keyword) == "YES"]
    if not flat.get("Units") and _is_bqml(flat):
        flat.Units = "BQML"
    if not flat.get("DecayCorrection") and flat.get("DecayCorrectionDateTime"):
        flat.DecayCorrection = "START"  # of what, the time says
    return flat


def _items(header: Dataset, frame: int) -> Iterator[Dataset]:
    """The items of the functional groups that hold for a frame, its own before the shared ones."""
    own = header.PerFrameFunctionalGroupsSequence[frame - 1]
    for groups in (own, *list(header.get("SharedFunctionalGroupsSequence") or [])[:1]):
        yield groups  # for what itself is a sequence: real world value maps
        for element in sound_elements(groups):
            if element.VR == "SQ" and not element.tag.is_private and element.value:
                yield element.value[0]


def _is_bqml(flat: Dataset) -> bool:
    """Whether the rescaled values are Bq/mL: a real world value map of that unit has the very same line."""
    for item in flat.get("RealWorldValueMappingSequence") or []:
        (unit, *_) = item.get("MeasurementUnitsCodeSequence") or [Dataset()]
        line = _number(item.get("RealWorldValueSlope")), _number(item.get("RealWorldValueIntercept"))
        rescale = _number(flat.get("RescaleSlope")), _number(flat.get("RescaleIntercept"))
        if unit.get("CodeValue") in BQML and None not in line and line == rescale:
            return True
    return False


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None

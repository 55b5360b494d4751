"""Attributes of one frame: its own functional groups, those shared by all frames, the top level (PS3.3 C.7.6.16).

This is the only place that reads functional groups. Of each macro the first item counts, of a single-frame instance the
top level; private sequences are not searched; broken values are absent. The frames of an NM image have a plane each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pydicom.dataset import Dataset
from pydicom.valuerep import DT

from voxtell_dicom.dicom.attributes import Lookup, get, lookup, number
from voxtell_dicom.dicom.elements import sound_elements
from voxtell_dicom.dicom.nuclear import planes_of

PER_FRAME = "PerFrameFunctionalGroupsSequence"
SHARED = "SharedFunctionalGroupsSequence"
_GROUPS, _PIXELS = 0x5200, 0x7FE0
_BQML = ("Bq/ml", "Bq/mL")  # UCUM


def per_frame_groups(header: Dataset) -> Sequence[Dataset]:
    """Return the items of Per-frame Functional Groups Sequence (5200,9230), one for each frame; () if absent."""
    groups: Sequence[Dataset] = get(header, PER_FRAME) or ()
    return groups


def shared_groups(header: Dataset) -> Dataset:
    """Return the item of Shared Functional Groups Sequence (5200,9229); an empty dataset if absent."""
    return next(iter(get(header, SHARED) or ()), Dataset())


def macro_items(groups: Dataset) -> list[Dataset]:
    """Return the first item of each standard macro in the groups of a frame, then the items nested in them.

    Nested is the direction of a diffusion gradient (C.8.13.5.9) only.
    """
    found = [
        element.value[0]
        for element in sound_elements(groups)
        if element.VR == "SQ" and not element.tag.is_private and element.value
    ]
    nested = [get(item, "DiffusionGradientDirectionSequence") for item in found]
    return [*found, *(items[0] for items in nested if items)]


def frame_groups(header: Dataset, frame: int) -> list[Dataset]:
    """Return the groups that hold for a frame (from 1), its own before the shared ones."""
    per_frame = per_frame_groups(header)
    return [*([per_frame[frame - 1]] if 0 < frame <= len(per_frame) else []), shared_groups(header)]


def frame_lookup(header: Dataset, frame: int) -> Lookup:
    """Return a function that finds keywords for a frame (from 1): in its own groups, the shared ones, the header."""
    items = [item for groups in frame_groups(header, frame) for item in macro_items(groups)]
    return lookup([*items, *planes_of(header, frame), header])


def frame_value(header: Dataset, frame: int, keyword: str) -> Any:
    """Return the value of a keyword for a frame (from 1), see `frame_lookup`; None where it is absent."""
    return frame_lookup(header, frame)(keyword)


def macro(header: Dataset, frame: int, keyword: str) -> list[Dataset]:
    """Return the items of one macro (such as PixelValueTransformationSequence) that hold for a frame (from 1)."""
    return [items[0] for groups in frame_groups(header, frame) if (items := get(groups, keyword))]


def frame_header(header: Dataset, frame: int) -> Dataset:
    """Return a flat header of one frame (from 1) of a PET object, as `suv.py` takes it (PS3.3 C.8.22, A.70).

    The header itself where it has no frames. Legacy Converted objects keep what the classic ones said in sequences of
    unassigned attributes. Enhanced ones say the same by other attributes: the unit beside a real world value map that
    is the rescale itself, corrections by YES, the time of decay correction outright.
    """
    if not per_frame_groups(header):
        return header
    flat = Dataset()
    groups = frame_groups(header, frame)
    # a group itself stands in for what is a sequence in a flat header, too: real world value maps
    layers = [item for each in groups for item in (each, *macro_items(each))]
    for layer in (header, *reversed(layers)):
        _overwrite(flat, layer)
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


def _overwrite(flat: Dataset, layer: Dataset) -> None:
    for element in sound_elements(layer):
        if element.tag.group not in (_GROUPS, _PIXELS):
            flat[element.tag] = element


def _is_bqml(flat: Dataset) -> bool:
    """Return True if rescaled values are Bq/mL: a real world value map of that unit has the very same line."""
    maps: Iterable[Dataset] = get(flat, "RealWorldValueMappingSequence") or ()
    rescale = number(flat.get("RescaleSlope")), number(flat.get("RescaleIntercept"))
    for item in maps:
        unit = next(iter(get(item, "MeasurementUnitsCodeSequence") or ()), Dataset())
        line = number(item.get("RealWorldValueSlope")), number(item.get("RealWorldValueIntercept"))
        if unit.get("CodeValue") in _BQML and None not in line and line == rescale:
            return True
    return False

"""Sort instances by SOP class and Image Type: a plane of a volume, or something to set aside or refuse."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pydicom.dataset import Dataset

from voxtell_dicom.dicom.attributes import Lookup, get, text, whole
from voxtell_dicom.dicom.sop_classes import (
    BREAST_TOMOSYNTHESIS,
    COLOUR_MR,
    MULTI_FRAME,
    NUCLEAR_MEDICINE,
    SINGLE_FRAME,
    class_name,
    is_ultrasound,
    not_acquired_family,
    why_no_volume,
)
from voxtell_dicom.model import SetAside

PROJECTIONS = frozenset(("MAX_IP", "MIN_IP", "AVERAGE_IP", "PROJECTION IMAGE", "PROJECTION", "VOLUME_RENDER"))
PROJECTION_PARTS = frozenset(("MIP", "MINIP", "MNIP", "VRT", "SSD"))  # of a value, as in "CT_SOM5 MIP"
LOCALIZERS = frozenset(("LOCALIZER", "SCOUT", "TOPOGRAM", "SURVEY"))
METABOLITES = frozenset(("METABOLITE", "METABOLITES", "SPECTROSCOPY", "SPECTRO", "CSI", "MRS", "MRSI"))  # parts, too
RENDERED = frozenset(("MAX_IP", "MIN_IP", "VOLUME_RENDER", "SURFACE_RENDER", "CURVED_MPR"))  # PS3.3 C.8.16.2.1.3
NO_VALUES = "a colour image has no voxel values"
LIMITED_ANGLE = "slices from a limited angle are blurred in depth: no volume in mm"


def set_aside_by_class(ds: Dataset) -> SetAside | None:
    """Return why an instance cannot be part of a volume by its header; None for an image that may be."""
    uid = text(ds, "SOPClassUID")
    sop = text(ds, "SOPInstanceUID")
    if uid in SINGLE_FRAME or uid in MULTI_FRAME or uid == NUCLEAR_MEDICINE:
        by_type = set_aside_by_type(get(ds, "ImageType"), "Image Type (0008,0008)", sop)
        return by_type or _mosaic_of_uih(ds, sop) or _colour(ds, sop)
    tag = f"SOP Class UID (0008,0016) is {uid} ({class_name(uid)})"
    if uid == COLOUR_MR:
        return SetAside("colour", f"{sop}: {tag}: {NO_VALUES}", (sop,))
    if uid == BREAST_TOMOSYNTHESIS:
        return SetAside("tomosynthesis", f"{sop}: {tag}: {LIMITED_ANGLE}", (sop,), refused=True)
    if is_ultrasound(uid):
        return SetAside("ultrasound", f"{sop}: {tag}: ultrasound is not segmented", (sop,), refused=True)
    family = not_acquired_family(uid)
    if family == "secondary-capture":
        several = whole(ds, "NumberOfFrames", 1) != 1
        why = "a multi-frame secondary capture has no reliable" if several else "a screen capture has no"
        return SetAside(family, f"{sop}: {tag}: {why} geometry", (sop,), refused=several)
    if family:
        return SetAside(family, f"{sop}: {tag}: not an image of a volume", (sop,))
    return SetAside("unsupported-sop-class", f"{sop}: {tag}: {why_no_volume(uid)}", (sop,), refused=True)


def set_aside_by_type(value: object, name: str, sop: str) -> SetAside | None:
    """Return why an image or a frame is no slice by Image Type or Frame Type. name: how the attribute is called."""
    listed = (value,) if isinstance(value, str) else value if isinstance(value, Iterable) else ()
    values = [str(word) for word in listed]
    words = {word.strip().upper() for word in values}
    tag = f"{name} is {'/'.join(values)}"
    if words & LOCALIZERS:
        return SetAside("localizer", f"{sop}: {tag}: a localizer is not part of a volume", (sop,))
    if "MOSAIC" in words:
        return SetAside(
            "mosaic", f"{sop}: {tag}: the slices of a mosaic have no positions of their own", (sop,), refused=True
        )
    parts = {part for word in words for part in re.split(r"[ _]", word)}
    if words & PROJECTIONS or parts & PROJECTION_PARTS:
        return SetAside("projection", f"{sop}: {tag}: a projection is not a slice", (sop,))
    if "TOMOSYNTHESIS" in parts:
        return SetAside("tomosynthesis", f"{sop}: {tag}: {LIMITED_ANGLE}", (sop,), refused=True)
    if parts & METABOLITES:
        return SetAside("metabolite-map", f"{sop}: {tag}: a map of a metabolite shows no anatomy", (sop,))
    if words & {"SCREEN SAVE", "SCREENSHOT", "SCREEN CAPTURE"}:
        return SetAside("screenshot", f"{sop}: {tag}: a screen capture is not a slice", (sop,))
    return None


def set_aside_by_calculation(look: Lookup, frame: int, sop: str) -> SetAside | None:
    """Return why a frame (from 1) of a multi-frame image is no slice by how it was calculated (PS3.3 C.8.16.2.1.3).

    look: finds the attributes of the frame. What Volumetric Properties calls DISTORTED is often plain EPI.
    """
    technique = str(look("VolumeBasedCalculationTechnique") or "").strip().upper()
    tag = f"Volume Based Calculation Technique (0008,9207) of frame {frame} is {technique}"
    if technique == "TOMOSYNTHESIS":
        return SetAside("tomosynthesis", f"{sop}: {tag}: {LIMITED_ANGLE}", (sop,), refused=True)
    if technique in RENDERED:
        return SetAside("projection", f"{sop}: {tag}: a projection is not a slice", (sop,))
    return None


def _mosaic_of_uih(ds: Dataset, sop: str) -> SetAside | None:
    if "VFRAME" not in text(ds, "ImageType") or get(ds, "ImagePositionPatient") is not None:
        return None
    words = (
        "Image Type (0008,0008) has VFRAME, and Image Position (Patient) (0020,0032) is absent: the slices of a mosaic"
    )
    return SetAside("mosaic", f"{sop}: {words} have no positions of their own", (sop,), refused=True)


def _colour(ds: Dataset, sop: str) -> SetAside | None:
    samples = whole(ds, "SamplesPerPixel", 1)
    meaning = text(ds, "PhotometricInterpretation")
    if samples != 1:
        words = f"Samples per Pixel (0028,0002) is {text(ds, 'SamplesPerPixel')}"
    elif meaning not in ("", "MONOCHROME1", "MONOCHROME2"):
        words = f"Photometric Interpretation (0028,0004) is {meaning}"
    else:
        return None
    return SetAside("colour", f"{sop}: {words}: {NO_VALUES}", (sop,))

"""Sort instances by SOP class and Image Type: a plane of a volume, or something to set aside or refuse."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pydicom.dataset import Dataset

from voxtell_dicom.dicom.attributes import get, text, whole
from voxtell_dicom.dicom.sop_classes import (
    MULTI_FRAME,
    SINGLE_FRAME,
    class_name,
    is_ultrasound,
    not_acquired_family,
)
from voxtell_dicom.model import SetAside

PROJECTIONS = frozenset(("MAX_IP", "MIN_IP", "AVERAGE_IP", "PROJECTION IMAGE", "PROJECTION", "VOLUME_RENDER"))
PROJECTION_PARTS = frozenset(("MIP", "MINIP", "MNIP", "VRT", "SSD"))  # of a value, as in "CT_SOM5 MIP"
LOCALIZERS = frozenset(("LOCALIZER", "SCOUT", "TOPOGRAM", "SURVEY"))


def set_aside_by_class(ds: Dataset) -> SetAside | None:
    """Return why an instance cannot be part of a volume by its header; None for an image that may be."""
    uid = text(ds, "SOPClassUID")
    sop = text(ds, "SOPInstanceUID")
    if uid in SINGLE_FRAME or uid in MULTI_FRAME:
        by_type = set_aside_by_type(get(ds, "ImageType"), "Image Type (0008,0008)", sop)
        return by_type or _mosaic_of_uih(ds, sop) or _colour(ds, sop)
    tag = f"SOP Class UID (0008,0016) is {uid} ({class_name(uid)})"
    if is_ultrasound(uid):
        return SetAside("ultrasound", f"{sop}: {tag}: ultrasound is not segmented", (sop,), refused=True)
    family = not_acquired_family(uid)
    if family == "secondary-capture":
        several = whole(ds, "NumberOfFrames", 1) != 1
        why = "a multi-frame secondary capture has no reliable" if several else "a screen capture has no"
        return SetAside(family, f"{sop}: {tag}: {why} geometry", (sop,), refused=several)
    if family:
        return SetAside(family, f"{sop}: {tag}: not an image of a volume", (sop,))
    why = f"{sop}: {tag}: only CT, MR and PET images are segmented"
    return SetAside("unsupported-sop-class", why, (sop,), refused=True)


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
    if words & PROJECTIONS or any(PROJECTION_PARTS & set(re.split(r"[ _]", word)) for word in words):
        return SetAside("projection", f"{sop}: {tag}: a projection is not a slice", (sop,))
    if words & {"SCREEN SAVE", "SCREENSHOT", "SCREEN CAPTURE"}:
        return SetAside("screenshot", f"{sop}: {tag}: a screen capture is not a slice", (sop,))
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
    return SetAside("colour", f"{sop}: {words}: a colour image has no voxel values", (sop,))

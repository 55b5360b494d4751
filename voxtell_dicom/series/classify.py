"""What an instance is, by its SOP class and Image Type: a plane of a volume, or something to set aside or refuse."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pydicom.dataset import Dataset
from pydicom.uid import UID

from voxtell_dicom.dicom.attributes import get, text, whole
from voxtell_dicom.model import SetAside

SINGLE_FRAME = {
    "1.2.840.10008.5.1.4.1.1.2": "CT Image",
    "1.2.840.10008.5.1.4.1.1.4": "MR Image",
    "1.2.840.10008.5.1.4.1.1.128": "PET Image",
}
MULTI_FRAME = {
    "1.2.840.10008.5.1.4.1.1.2.1": "Enhanced CT Image",
    "1.2.840.10008.5.1.4.1.1.2.2": "Legacy Converted Enhanced CT Image",
    "1.2.840.10008.5.1.4.1.1.4.1": "Enhanced MR Image",
    "1.2.840.10008.5.1.4.1.1.4.4": "Legacy Converted Enhanced MR Image",
    "1.2.840.10008.5.1.4.1.1.130": "Enhanced PET Image",
    "1.2.840.10008.5.1.4.1.1.128.1": "Legacy Converted Enhanced PET Image",
}
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
ULTRASOUND = ("1.2.840.10008.5.1.4.1.1.6", "1.2.840.10008.5.1.4.1.1.3")
NOT_IMAGES = (
    ("1.2.840.10008.5.1.4.1.1.67", "real-world-value-mapping"),
    ("1.2.840.10008.5.1.4.1.1.66.4", "segmentation"),
    ("1.2.840.10008.5.1.4.1.1.66.7", "segmentation"),
    ("1.2.840.10008.5.1.4.1.1.66", "raw-data"),  # raw data, spatial registration, fiducials, surfaces
    ("1.3.12.2.1107.5.9.1", "raw-data"),  # Siemens: CSA Non-Image
    ("1.3.46.670589.11.0.0.12.1", "raw-data"),  # Philips: MR Spectrum
    ("1.3.46.670589.11.0.0.12.2", "raw-data"),  # Philips: MR Series Data
    ("1.3.46.670589.11.0.0.12.4", "raw-data"),  # Philips: MR Examcard
    ("1.2.840.10008.5.1.4.1.1.88.67", "dose-report"),
    ("1.2.840.10008.5.1.4.1.1.88.68", "dose-report"),
    ("1.2.840.10008.5.1.4.1.1.88.59", "key-object-selection"),
    ("1.2.840.10008.5.1.4.1.1.88", "structured-report"),
    ("1.2.840.10008.5.1.4.1.1.11", "presentation-state"),
    ("1.2.840.10008.5.1.4.1.1.481", "radiotherapy"),
    ("1.2.840.10008.5.1.4.1.1.104", "encapsulated-document"),
    ("1.2.840.10008.5.1.4.1.1.9", "waveform"),
    ("1.2.840.10008.5.1.4.1.1.4.2", "spectroscopy"),
)
PROJECTIONS = frozenset(("MAX_IP", "MIN_IP", "AVERAGE_IP", "PROJECTION IMAGE", "PROJECTION", "VOLUME_RENDER"))
PROJECTION_PARTS = frozenset(("MIP", "MINIP", "MNIP", "VRT", "SSD"))  # of a value, as in "CT_SOM5 MIP"
LOCALIZERS = frozenset(("LOCALIZER", "SCOUT", "TOPOGRAM", "SURVEY"))


def _below(uid: str, root: str) -> bool:
    return uid == root or uid.startswith(root + ".")


def set_aside_by_class(ds: Dataset) -> SetAside | None:
    """Why an instance cannot be part of a volume by what it is; None for an image that may be. Reads no pixels."""
    uid = text(ds, "SOPClassUID")
    sop = text(ds, "SOPInstanceUID")
    if uid in SINGLE_FRAME or uid in MULTI_FRAME:
        by_type = set_aside_by_type(get(ds, "ImageType"), "Image Type (0008,0008)", sop)
        return by_type or _mosaic_of_uih(ds, sop) or _colour(ds, sop)
    tag = f"SOP Class UID (0008,0016) is {uid} ({UID(uid).name})"
    if _below(uid, SECONDARY_CAPTURE):
        several = whole(ds, "NumberOfFrames", 1) != 1
        why = (
            "a multi-frame secondary capture has no reliable geometry"
            if several
            else "a screen capture has no geometry"
        )
        return SetAside("secondary-capture", f"{sop}: {tag}: {why}", (sop,), refused=several)
    if any(_below(uid, root) for root in ULTRASOUND):
        return SetAside("ultrasound", f"{sop}: {tag}: ultrasound is not segmented", (sop,), refused=True)
    for root, code in NOT_IMAGES:
        if _below(uid, root):
            return SetAside(code, f"{sop}: {tag}: not an image of a volume", (sop,))
    return SetAside(
        "unsupported-sop-class", f"{sop}: {tag}: only CT, MR and PET images are segmented", (sop,), refused=True
    )


def set_aside_by_type(value: object, name: str, sop: str) -> SetAside | None:
    """Why an image or a frame is no slice by its Image Type or Frame Type. name: how the attribute is called."""
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

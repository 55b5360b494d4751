"""What never starts work: our own results, and objects that are not acquired images (contracts § 3)."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.uid import UID

OUR_NAME = "voxtell-dicom"

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_NOT_IMAGES = ("7", "9", "11", "66", "67", "88", "104", "481")  # SC, waveform, PR, raw/SEG, RWV, SR/KO, documents, RT


def not_an_image(sop_class_uid: str) -> bool:
    """Whether objects of this class need a rule that asks for the class by SOPClassUID."""
    if not sop_class_uid.startswith(_STORAGE):
        return False
    return sop_class_uid[len(_STORAGE) :].split(".")[0] in _NOT_IMAGES


def is_ours(header: Dataset) -> bool:
    """Whether this is a result that a node like this one made (whatever its rules say, it starts nothing)."""
    if not not_an_image(str(header.get("SOPClassUID", ""))):
        return False  # a phantom's images name us as the maker and are there to be segmented
    makers = [header, *header.get("ContributingEquipmentSequence", [])]
    names = [str(maker.get(key, "")) for maker in makers for key in ("Manufacturer", "ManufacturerModelName")]
    return any(name.strip().casefold().startswith(OUR_NAME) for name in names)


def class_name(sop_class_uid: str) -> str:
    """The standard's name of a SOP class, or the UID."""
    return UID(sop_class_uid).name if sop_class_uid else "no SOP class"

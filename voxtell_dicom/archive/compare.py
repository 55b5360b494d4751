"""Two datasets of one SOP Instance UID: the same instance again, a header correction, or something else?

Contracts § 1: pixels re-sent in another transfer syntax are the same instance; changed headers only update identity;
other pixels, or the same pixels at another place in the patient, are refused. Pixels are decoded here, and only here,
when a UID that is already in the archive arrives with other bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from pydicom import dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import FileDataset
from pydicom.tag import BaseTag

from voxtell_dicom.dicom.codecs.choice import pixel_array
from voxtell_dicom.dicom.sop_classes import NUCLEAR_MEDICINE
from voxtell_dicom.errors import Refusal

SAME = "same"
HEADERS = "headers"

# What gives the pixels their meaning: a change here is another image, not a correction.
_CONTENT = (
    "SOPClassUID",
    "Modality",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "BitsStored",
    "PixelRepresentation",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "FrameOfReferenceUID",
    "PixelSpacing",
    "RescaleSlope",
    "RescaleIntercept",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)
# The same of an NM image, whose slices lie where these say (`dicom/nuclear.py`).
_NUCLEAR = ("ImageType", "FrameIncrementPointer", "SliceVector", "SpacingBetweenSlices", "DetectorInformationSequence")
_DEFAULTS: Mapping[str, int] = {"NumberOfFrames": 1, "RescaleSlope": 1, "RescaleIntercept": 0}  # absence means these
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
# What a change of transfer syntax or character set may change with no correction meant; text is compared decoded.
_FORM = (
    "SpecificCharacterSet",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "BitsAllocated",
    "HighBit",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)


def compare(old: BinaryIO, new: BinaryIO, uid: str) -> str:
    """SAME or HEADERS; old, new: two Part 10 files of the SOP Instance UID `uid`.

    Raises Refusal ``instance-conflict`` where content differs, or cannot be decoded to show that it does not.
    """
    try:
        before, after = dcmread(old), dcmread(new)
        content = (*_CONTENT, *(_NUCLEAR if after.get("SOPClassUID") == NUCLEAR_MEDICINE else ()))
        different = [keyword for keyword in content if _meaning(before, keyword) != _meaning(after, keyword)]
    except Exception as error:  # whatever a broken value makes the parser raise
        raise _conflict(uid, f"it cannot be read to compare it ({error})") from error
    if different:
        raise _conflict(uid, f"{', '.join(different)} differs")
    _compare_pixels(before, after, uid)
    return SAME if _same_headers(before, after) else HEADERS


def _meaning(dataset: FileDataset, keyword: str) -> Any:
    """Return a value, or what its absence means: an archive may write either (PS3.3 C.7.6.6, C.11.1)."""
    value = dataset.get(keyword)
    return _DEFAULTS.get(keyword) if value is None or value == "" else value


def _compare_pixels(before: FileDataset, after: FileDataset, uid: str) -> None:
    kinds = [keyword for keyword in _PIXELS if keyword in before or keyword in after]
    if all(keyword in before and keyword in after for keyword in kinds):
        if before.file_meta.TransferSyntaxUID == after.file_meta.TransferSyntaxUID and all(
            before[keyword].value == after[keyword].value for keyword in kinds
        ):
            return
        try:
            same = np.array_equal(_stored_values(before), _stored_values(after))
        except Exception as error:  # whatever a decoder raises
            raise _conflict(uid, f"the pixels cannot be decoded to compare them ({error})") from error
        if same:
            return
    raise _conflict(uid, "the pixels differ")


def _stored_values(dataset: FileDataset) -> npt.NDArray[Any]:
    """Pixels as (frames, rows, columns, samples), colours as RGB, without the bits above Bits Stored (PS3.5 § 8.1)."""
    pixels = pixel_array(dataset)
    stored = int(dataset.get("BitsStored") or 8 * pixels.itemsize)
    unused = 8 * pixels.itemsize - stored
    if unused > 0 and pixels.dtype.kind in "iu":
        pixels = np.right_shift(np.left_shift(pixels, unused), unused)
    return pixels


def _same_headers(before: FileDataset, after: FileDataset) -> bool:
    """All but pixels and form. A false difference does no harm: the newest copy is kept then, with the same content."""
    left_out = {tag_for_keyword(keyword) for keyword in (*_FORM, *_DEFAULTS)}  # the defaults are part of the content
    tags = [
        {
            tag
            for tag in dataset.keys()  # noqa: SIM118 - undecoded
            if tag.group < 0x7FE0 and tag.element and int(tag) not in left_out and not _is_empty(dataset, tag)
        }
        for dataset in (before, after)
    ]
    same_set = before.get("SpecificCharacterSet") == after.get("SpecificCharacterSet")
    return tags[0] == tags[1] and all(_same_value(before, after, tag, undecoded=same_set) for tag in tags[0])


def _is_empty(dataset: FileDataset, tag: BaseTag) -> bool:
    """Return True if an element has no value: archives add and remove such elements."""
    value = dataset.get_item(tag).value
    return value is None or (hasattr(value, "__len__") and len(value) == 0)


def _same_value(before: FileDataset, after: FileDataset, tag: BaseTag, *, undecoded: bool) -> bool:
    """undecoded: whether equal bytes are equal values, because the character set is the same."""
    values = [dataset.get_item(tag).value for dataset in (before, after)]
    if (
        undecoded
        and all(isinstance(value, bytes) for value in values)
        and values[0].rstrip(b"\0 ") == values[1].rstrip(b"\0 ")
    ):
        return True
    try:
        return bool(before[tag].value == after[tag].value)
    except Exception:  # whatever a broken value makes the parser raise
        return False


def _conflict(uid: str, why: str) -> Refusal:
    return Refusal(
        "instance-conflict",
        f"SOP Instance UID {uid} is already here with other content: {why}. The first copy is kept; "
        "send the changed image under a new SOP Instance UID",
        uid=uid,
    )

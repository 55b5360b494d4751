"""Two datasets of one SOP Instance UID: the same instance again, a header correction, or something else?

Contracts § 1: pixels re-sent in another transfer syntax are the same instance; changed headers only update identity;
other pixels, or the same pixels at another place in the patient, are refused. Pixels are decoded here, and only here,
when a UID that is already in the spool arrives with other bytes.
"""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from pydicom import dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import FileDataset
from pydicom.pixels.utils import pixel_array

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
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
# What a change of transfer syntax may change with no correction meant.
_FORM = (
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
    before, after = dcmread(old), dcmread(new)
    for keyword in _CONTENT:
        if before.get(keyword) != after.get(keyword):
            raise _conflict(uid, f"{keyword} differs")
    _compare_pixels(before, after, uid)
    return SAME if _headers(before) == _headers(after) else HEADERS


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


def _headers(dataset: FileDataset) -> dict[int, Any]:
    """All but pixels and form, undecoded where pydicom has not decoded it. A false difference does no harm."""
    left_out = {tag_for_keyword(keyword) for keyword in _FORM}
    found = {}
    for tag in list(dataset.keys()):
        if tag.group >= 0x7FE0 or tag.element == 0 or int(tag) in left_out:
            continue
        value = dataset.get_item(tag).value
        found[int(tag)] = value.rstrip(b"\0 ") if isinstance(value, bytes) else value
    return found


def _conflict(uid: str, why: str) -> Refusal:
    return Refusal(
        "instance-conflict",
        f"SOP Instance UID {uid} is already here with other content: {why}. The first copy is kept; "
        "send the changed image under a new SOP Instance UID",
        uid=uid,
    )

"""Positions of the frames of a reconstructed NM image (PS3.3 C.8.4), which has no functional groups.

The first slice lies where Detector Information Sequence (0054,0022) says. The others follow along its normal (row
cosine × column cosine), Spacing Between Slices (0018,0088) apart: in its direction where that is positive, against it
where it is negative (C.8.4.15).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from pydicom.dataset import Dataset

from voxtell_dicom.dicom.attributes import get, number, text, whole
from voxtell_dicom.dicom.sop_classes import NUCLEAR_MEDICINE
from voxtell_dicom.errors import Refusal

SLICE_VECTOR: Final = 0x00540080
POSITION, ORIENTATION = "Image Position (Patient) (0020,0032)", "Image Orientation (Patient) (0020,0037)"
SPACING = "Spacing Between Slices (0018,0088)"
SAME = 1e-3  # mm, or of a cosine: statements nearer than this are one
WHY: Final = {  # Image Type (0008,0008), value 3 (C.8.4.9.1.1) → why it is no volume
    "STATIC": "planar images",
    "WHOLE BODY": "planar images",
    "DYNAMIC": "planar images over time",
    "GATED": "planar images of the phases of the heart",
    "TOMO": "projections, not yet reconstructed",
    "GATED TOMO": "projections, not yet reconstructed",
    "RECON GATED TOMO": "a volume for each phase of the heart: send the reconstruction without gating",
}


@dataclass(frozen=True)
class Slices:
    """The slices of one NM image. `numbers`: of the slice that each frame shows, from 1. Lengths in mm, LPS."""

    position: tuple[float, ...]  # of slice 1
    orientation: tuple[float, ...]
    step: tuple[float, ...]  # from one slice to the next
    numbers: tuple[int, ...]

    def plane(self, frame: int) -> Dataset:
        """Return Image Position and Image Orientation (Patient) of a frame (from 1)."""
        away = self.numbers[frame - 1] - 1
        plane = Dataset()
        plane.ImagePositionPatient = [start + away * step for start, step in zip(self.position, self.step, strict=True)]
        plane.ImageOrientationPatient = list(self.orientation)
        return plane


def planes_of(header: Dataset, frame: int) -> list[Dataset]:
    """Return the plane of a frame (from 1) of a reconstructed NM image; nothing of others, or where none is known."""
    if text(header, "SOPClassUID") != NUCLEAR_MEDICINE:
        return []
    try:
        slices = slices_of(header)
    except Refusal:
        return []
    return [slices.plane(frame)] if 0 < frame <= len(slices.numbers) else []


def slices_of(header: Dataset) -> Slices:
    """Return where the slices of a reconstructed NM image lie.

    Raises Refusal: ``nuclear-medicine`` for other NM images, ``frame-count`` where the frames are not the slices, each
    once, ``missing-geometry`` where their place is not stated, or twice and differently.
    """
    _check_type(header)
    numbers = _slice_numbers(header)
    position, orientation = _first_plane(header)
    spacing = _numbers(get(header, "SpacingBetweenSlices"))
    if len(spacing) != 1 or not 0 < abs(spacing[0]) < 1e3:
        words = "one number is needed, whose sign says to which side the slices follow"
        raise Refusal("missing-geometry", *_about(header, f"{SPACING} is {_shown(spacing)}: {words}"))
    normal = np.cross(orientation[:3], orientation[3:])
    step = normal * (spacing[0] / max(float(np.linalg.norm(normal)), SAME))
    return Slices(position, orientation, tuple(float(value) for value in step), numbers)


def _check_type(header: Dataset) -> None:
    value = get(header, "ImageType")
    words = [value] if isinstance(value, str) else [str(word) for word in value or ()]
    kind = words[2].strip().upper().replace("_", " ") if len(words) > 2 else ""
    if kind != "RECON TOMO":
        why = WHY.get(kind, "only RECON TOMO is a volume")
        raise Refusal("nuclear-medicine", *_about(header, f"Image Type (0008,0008) is {_shown(words)}: {why}"))
    pointers = list(_several(get(header, "FrameIncrementPointer")))
    if pointers != [SLICE_VECTOR]:
        words = [str(tag) for tag in pointers]
        said = f"Frame Increment Pointer (0028,0009) is {_shown(words)}"
        why = "frames by anything but Slice Vector (0054,0080) are not one volume"
        raise Refusal("nuclear-medicine", *_about(header, f"{said}: {why}"))


def _slice_numbers(header: Dataset) -> tuple[int, ...]:
    """Return the number of each frame's slice (C.8.4.8.1.8): each once, the first frame's 1, as the place is its."""
    frames, stated = whole(header, "NumberOfFrames", 1), whole(header, "NumberOfSlices")
    if stated not in (0, frames):
        words = f"Number of Slices (0054,0081) is {stated}, but Number of Frames (0028,0008) is {frames}"
        raise Refusal("frame-count", *_about(header, words))
    vector = [value for value in _several(get(header, "SliceVector")) if isinstance(value, int)]
    if not vector or sorted(vector) != list(range(1, frames + 1)) or vector[0] != 1:
        words = f"Slice Vector (0054,0080) is {_shown(vector)}: the slices 1 to {frames} are needed, each once, 1 first"
        raise Refusal("frame-count", *_about(header, words))
    return tuple(vector)


def _first_plane(header: Dataset) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return position and orientation of the first slice: of the first detector, where nothing contradicts it."""
    first, *others = list(get(header, "DetectorInformationSequence") or ()) or [Dataset()]
    planes = []
    for keyword, words, count in (("ImagePositionPatient", POSITION, 3), ("ImageOrientationPatient", ORIENTATION, 6)):
        values = _numbers(get(first, keyword))
        if len(values) != count:
            where = "of the first item of Detector Information Sequence (0054,0022)"
            said = f"{words} {where} is {_shown(values)}, {count} numbers are needed"
            raise Refusal("missing-geometry", *_about(header, said))
        for other in (*others, header):
            again = _numbers(get(other, keyword))
            if again and not (len(again) == count and np.abs(np.subtract(values, again)).max() <= SAME):
                where = "beside" if other is header else "in another item of"
                said = f"is {_shown(values)}, and {_shown(again)} {where} Detector Information Sequence (0054,0022)"
                raise Refusal("missing-geometry", *_about(header, f"{words} {said}"))
        planes.append(values)
    return planes[0], planes[1]


def _several(value: object) -> Iterable[object]:
    if value is None:
        return ()
    return (value,) if isinstance(value, (str, bytes, int, float)) or not isinstance(value, Iterable) else value


def _numbers(value: object) -> tuple[float, ...]:
    found = [number(part) for part in _several(value)]
    return tuple(part for part in found if part is not None and abs(part) < 1e6)


def _shown(value: object) -> str:
    words = [f"{part:g}" if isinstance(part, float) else str(part) for part in _several(value)]
    more = "\\…" if len(words) > 8 else ""
    return "\\".join(words[:8]) + more or "absent"


def _about(header: Dataset, words: str) -> tuple[str, str]:
    uid = text(header, "SOPInstanceUID")
    return f"{uid}: {words}", uid

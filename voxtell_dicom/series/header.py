"""What the series room knows of one source frame: read from the header, without pixels.

A single-frame instance gives one `FrameHeader`; a multi-frame instance gives one for each of its frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from voxtell_dicom.model import Vector


@dataclass(frozen=True)
class FrameHeader:
    """Identity, geometry and distinguishing attributes of one frame. Lengths in mm, patient coordinates LPS."""

    path: Path
    sop_instance_uid: str
    sop_class_uid: str
    number: int  # of the frame in its instance, from 1
    study_uid: str
    series_uid: str
    frame_of_reference_uid: str
    patient_id: str
    patient_id_issuer: str
    modality: str
    image_type: tuple[str, ...]
    rows: int
    columns: int
    position: Vector  # Image Position (Patient): centre of the first voxel
    row_cosine: Vector  # direction of increasing column index
    column_cosine: Vector  # direction of increasing row index
    pixel_spacing: tuple[float, float]  # between rows, between columns
    slice_thickness: float | None
    spacing_between_slices: float | None
    slice_location: float | None
    lossy: bool
    images_in_acquisition: int | None
    keys: tuple[tuple[str, str], ...]  # distinguishing attributes that have a value, by their names in `keys.py`

    @property
    def name(self) -> str:
        """Return how a message refers to this frame."""
        return self.sop_instance_uid if self.number == 1 else f"{self.sop_instance_uid} frame {self.number}"

    def key(self, name: str) -> str:
        """The value of a distinguishing attribute; "" where it is absent."""
        return next((value for word, value in self.keys if word == name), "")


def uids(frames: Iterator[FrameHeader] | tuple[FrameHeader, ...] | list[FrameHeader]) -> tuple[str, ...]:
    """The SOP Instance UIDs of frames, each once, in their order."""
    return tuple(dict.fromkeys(frame.sop_instance_uid for frame in frames))

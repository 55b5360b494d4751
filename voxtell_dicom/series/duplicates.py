"""Remove copies of slices, told from different slices at one place by their pixels."""

from __future__ import annotations

from collections.abc import Sequence

from voxtell_dicom.dicom.pixels import frame_digest
from voxtell_dicom.model import SetAside
from voxtell_dicom.series.geometry import Stack
from voxtell_dicom.series.header import FrameHeader, uids


def drop_copies(frames: Sequence[FrameHeader]) -> tuple[list[FrameHeader], list[SetAside]]:
    """Return each SOP instance once, and why others are not. Two of one UID that differ are both refused."""
    seen: dict[tuple[str, int], FrameHeader] = {}
    copies: list[FrameHeader] = []
    conflicts: list[FrameHeader] = []
    for frame in frames:
        first = seen.setdefault((frame.sop_instance_uid, frame.number), frame)
        if first is frame:
            continue
        same = _place(first) == _place(frame) and frame_digest(first.path, first.number) == frame_digest(
            frame.path, frame.number
        )
        (copies if same else conflicts).append(frame)
    aside: list[SetAside] = []
    if copies:
        reason = f"{copies[0].name}: the same instance more than once, with the same pixels: dropped"
        aside.append(SetAside("duplicate", reason, uids(copies)))
    if conflicts:
        reason = f"{conflicts[0].name}: two files with this SOP Instance UID (0008,0018) and different contents"
        aside.append(SetAside("conflicting-instance", reason, uids(conflicts), refused=True))
    bad = set(uids(conflicts))
    return [frame for frame in seen.values() if frame.sop_instance_uid not in bad], aside


def _place(frame: FrameHeader) -> tuple[object, ...]:
    return frame.position, frame.row_cosine, frame.column_cosine, frame.pixel_spacing


def drop_identical(stack: Stack) -> tuple[list[FrameHeader], list[FrameHeader]]:
    """Return one frame of each position, and the others, if all coincident frames have the same pixels; else all.

    All or nothing: two volumes of a time series may share some identical (empty) slices and still be two volumes.
    """
    kept: list[FrameHeader] = []
    dropped: list[FrameHeader] = []
    for group in stack.positions():
        if len(group) > 1:
            first = frame_digest(group[0].path, group[0].number)
            if any(frame_digest(frame.path, frame.number) != first for frame in group[1:]):
                return list(stack.frames), []
        kept.append(group[0])
        dropped += group[1:]
    return kept, dropped

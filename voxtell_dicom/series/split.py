"""One series into its volumes: groups of equal matrix and orientation, each resolved into regular stacks.

A group that is already one regular volume is never split (`resolve.py` says how others are). What mixes frames of
reference is refused, unless a rule accepts it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from voxtell_dicom.errors import Refusal
from voxtell_dicom.model import SetAside, Vector, Volume
from voxtell_dicom.series.duplicates import drop_copies
from voxtell_dicom.series.geometry import GAP, Stack, axes_of, volume_of
from voxtell_dicom.series.header import FrameHeader, uids
from voxtell_dicom.series.keys import REFERENCE
from voxtell_dicom.series.names import describe, plane_of
from voxtell_dicom.series.resolve import Found, Keys, order_of, resolve

PARALLEL = 2e-3  # largest difference of a direction cosine within one orientation
SEVERAL_REFERENCES = "mixed-frames-of-reference"  # the code of the refusal, and of the warning where it is accepted
SAME_SPACING = 1e-3  # largest relative difference of pixel spacings within one group


def volumes_of(
    frames: Sequence[FrameHeader], max_gap: float = GAP, frames_of_reference: str = "refuse"
) -> Iterator[Volume | SetAside]:
    """The volumes of the frames of one series, each with a name, and what could not be used.

    max_gap: the widest gap between slices that is bridged, in parts of the spacing. frames_of_reference: ``accept``
    takes several Frame of Reference UIDs on one stack as one. Reads pixels only where frames coincide.
    """
    unique, aside = drop_copies(frames)
    yield from aside
    unique.sort(key=lambda frame: (order_of(frame.key("instance_number")), frame.sop_instance_uid, frame.number))
    groups: list[list[FrameHeader]] = []
    sound: set[tuple[Vector, Vector]] = set()
    for frame in unique:
        if (frame.row_cosine, frame.column_cosine) not in sound:
            try:
                axes_of(frame)
            except Refusal as refusal:
                yield SetAside(refusal.code, str(refusal), (frame.sop_instance_uid,), refused=True)
                continue
            sound.add((frame.row_cosine, frame.column_cosine))
        home = next((group for group in groups if _alike(group[0], frame)), None)
        if home is None:
            groups.append([frame])
        else:
            home.append(frame)
    several = len(groups) > 1
    found: list[tuple[Stack, Keys]] = []
    for group in groups:
        common = _group_keys(group[0], groups) if several else {}
        outcomes = resolve(group, max_gap)
        if frames_of_reference != "accept":
            outcomes = _in_one_reference(_with_references(group), max_gap)
        for outcome, keys in outcomes:
            keys = {**common, **keys}
            if isinstance(outcome, SetAside):
                yield replace(outcome, run=describe(keys)) if outcome.stack else outcome
            else:
                found.append((outcome, keys))
    yield from _named(found)


def _alike(one: FrameHeader, other: FrameHeader) -> bool:
    if (one.rows, one.columns, one.modality) != (other.rows, other.columns, other.modality):
        return False
    cosines = zip((*one.row_cosine, *one.column_cosine), (*other.row_cosine, *other.column_cosine), strict=True)
    spacings = zip(one.pixel_spacing, other.pixel_spacing, strict=True)
    return all(abs(a - b) <= PARALLEL for a, b in cosines) and all(abs(a - b) <= SAME_SPACING * b for a, b in spacings)


def _group_keys(frame: FrameHeader, groups: Sequence[Sequence[FrameHeader]]) -> Keys:
    keys = {"plane": plane_of(np.cross(frame.row_cosine, frame.column_cosine))}
    if len({(group[0].rows, group[0].columns) for group in groups}) > 1:
        keys["matrix"] = f"{frame.rows}x{frame.columns}"
    if len({group[0].pixel_spacing for group in groups}) > 1:
        keys["pixel_spacing"] = f"{frame.pixel_spacing[0]:g}x{frame.pixel_spacing[1]:g}"
    return keys


def _with_references(group: list[FrameHeader]) -> list[FrameHeader]:
    """The frames with the number of their frame of reference as a key, where there are several."""
    references = sorted({frame.frame_of_reference_uid for frame in group})
    if len(references) == 1:
        return group
    numbers = {uid: str(number) for number, uid in enumerate(references, 1)}
    return [replace(one, keys=(*one.keys, (REFERENCE, numbers[one.frame_of_reference_uid]))) for one in group]


def _in_one_reference(group: list[FrameHeader], max_gap: float) -> Iterator[Found]:
    """Return what the frames resolve to; what mixes frames of reference is refused: each has positions of its own."""
    reference_of = {frame.sop_instance_uid: frame.frame_of_reference_uid for frame in group}
    refused: set[str] = set()
    for outcome, keys in resolve(group, max_gap):
        names = outcome.uids if isinstance(outcome, SetAside) else uids(outcome.run_of or outcome.frames)
        references = sorted({reference_of[name] for name in names})
        if len(references) == 1 or (isinstance(outcome, SetAside) and not outcome.refused):
            yield outcome, keys
        elif not refused.issuperset(names):
            refused.update(names)
            yield _several_references(group[0].series_uid, names, references), {}


def _several_references(series: str, names: tuple[str, ...], references: list[str]) -> SetAside:
    reason = (
        f"series {series}: {len(references)} different values of Frame of Reference UID (0020,0052) "
        f"on slices of one stack: {', '.join(references[:3])}; a rule may accept them (frames_of_reference)"
    )
    return SetAside(SEVERAL_REFERENCES, reason, names, refused=True)


def _named(found: Sequence[tuple[Stack, Keys]]) -> Iterator[Volume]:
    """Volumes with names that differ, and a warning on one that has fewer slices than its like.

    found: a stack, and what distinguishes it.
    """
    most: dict[tuple[object, ...], int] = {}
    for stack, keys in found:
        kind = _kind_of(stack, keys)
        most[kind] = max(most.get(kind, 0), len(stack.frames))
    names: dict[str, int] = {}
    for stack, keys in found:
        name = describe(keys)
        names[name] = names.get(name, 0) + 1
        if names[name] > 1:
            name = f"{name} #{names[name]}".strip()
        volume = volume_of(stack, name, keys)
        if len({frame.frame_of_reference_uid for frame in stack.run_of or stack.frames}) > 1:
            volume = _in_the_usual_reference(volume, stack)
        slices, usual = len(stack.frames), most[_kind_of(stack, keys)]
        if usual > slices and "run" not in keys:
            said = f"fewer-slices: {slices} slices, where the series has volumes of the same kind with {usual}"
            volume = replace(volume, warnings=(*volume.warnings, said))
        yield volume


def _in_the_usual_reference(volume: Volume, stack: Stack) -> Volume:
    """The volume in the frame of reference that most of its slices name, of several the first; with a warning."""
    frames = stack.run_of or stack.frames
    references = Counter(frame.frame_of_reference_uid for frame in frames)
    usual, count = references.most_common(1)[0]
    said = (
        f"{SEVERAL_REFERENCES}: {len(references)} different values of Frame of Reference UID (0020,0052) on slices of "
        f"one stack; the result has {usual}, as {count} of {len(frames)} slices here"
    )
    return replace(volume, frame_of_reference_uid=usual, warnings=(*volume.warnings, said))


def _kind_of(stack: Stack, keys: Keys) -> tuple[object, ...]:
    """What volumes have in common that ought to have as many slices: all but the values of what tells them apart.

    Stacks at an angle to one another, as of the discs of a spine, are planned one by one.
    """
    first = stack.frames[0]
    angles = tuple(round(value, 2) + 0.0 for value in (*first.row_cosine, *first.column_cosine))
    return (*keys, keys.get("plane"), first.rows, first.columns, first.pixel_spacing, angles)

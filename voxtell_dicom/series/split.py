"""One series into its volumes: groups of equal matrix and orientation, then by attributes, but only where needed.

A group that is already one regular volume is never split. One that is not is split by the first principal attribute
that separates coincident frames; then identical duplicates are dropped; then the resolving attributes, then the times
are tried (see `keys.py`); last, runs of constant spacing within a stack become volumes of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from voxtell_dicom.errors import Refusal
from voxtell_dicom.model import SetAside, Vector, Volume
from voxtell_dicom.series.duplicates import drop_copies, drop_identical
from voxtell_dicom.series.geometry import (
    GAP,
    Stack,
    axes_of,
    is_regular,
    on_planes,
    refuse_irregular,
    stack_of,
    volume_of,
)
from voxtell_dicom.series.header import FrameHeader, uids
from voxtell_dicom.series.keys import PRINCIPAL, RESOLVING, TIMES
from voxtell_dicom.series.names import describe, plane_of
from voxtell_dicom.series.runs import runs_by_thickness, runs_of, spacing_of

Keys = dict[str, str]
Found = tuple[Stack | SetAside, Keys]
PARALLEL = 2e-3  # largest difference of a direction cosine within one orientation
FIRST = ("magnitude", "in phase", "water")  # of the kinds
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
    unique.sort(key=lambda frame: (_order(frame.key("instance_number")), frame.sop_instance_uid, frame.number))
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
        outcomes = _resolve(group, max_gap)
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
    return [replace(one, keys=(*one.keys, ("reference", numbers[one.frame_of_reference_uid]))) for one in group]


def _in_one_reference(group: list[FrameHeader], max_gap: float) -> Iterator[Found]:
    """What the frames resolve to; what mixes frames of reference is refused: each has positions of its own."""
    reference_of = {frame.sop_instance_uid: frame.frame_of_reference_uid for frame in group}
    refused: set[str] = set()
    for outcome, keys in _resolve(group, max_gap):
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


def _resolve(frames: Sequence[FrameHeader], max_gap: float) -> Iterator[Found]:
    """The regular stacks of parallel frames of equal matrix, or the reasons why there are none."""
    stack = stack_of(frames)
    if is_regular(stack):
        yield stack, {}
    elif stack.coincident:
        yield from _resolve_coincident(stack, max_gap)
    else:
        yield from _resolve_irregular(stack, max_gap)


def _resolve_coincident(stack: Stack, max_gap: float) -> Iterator[Found]:
    for name in PRINCIPAL:
        parts = _partition(stack, name)
        if _separates(stack, parts):
            yield from _parts(name, parts, max_gap)
            return
    kept, dropped = drop_identical(stack)
    if dropped:
        words = "the same position and the same pixels as another slice"
        reason = f"{dropped[0].name}: {words} ({len(dropped)} in all): dropped"
        yield SetAside("duplicate", reason, uids(dropped)), {}
        yield from _resolve(kept, max_gap)
        return
    for name in RESOLVING:
        parts = _partition(stack, name)
        if _separates(stack, parts):
            yield from _parts(name, parts, max_gap)
            return
    for name in TIMES:
        ranks = _ranked(stack, name)
        if ranks:
            yield from _parts("time" if name != "instance_number" else "order", ranks, max_gap)
            return
    several = next(group for group in stack.positions() if len(group) > 1)
    shown = "\\".join(f"{value:g}" for value in several[0].position)
    reason = (
        f"{several[0].name} and {several[1].name}: the same Image Position (Patient) (0020,0032) {shown}, "
        "different values, and no attribute tells them apart"
    )
    yield SetAside("coincident-slices", reason, uids(stack.frames), refused=True), {}


def _resolve_irregular(stack: Stack, max_gap: float) -> Iterator[Found]:
    if runs := runs_of(stack):
        yield from _runs(runs, max_gap)
        return
    for name in (*PRINCIPAL, "offset"):
        if name == "thickness" and (runs := runs_by_thickness(stack)):
            yield from _runs(runs, max_gap)
            return
        parts = _partition(stack, name)
        if len(parts) > 1 and all(len(part) > 1 and is_regular(stack_of(part)) for part in parts.values()):
            yield from _parts(name, parts, max_gap)
            return
    laid = on_planes(stack, max_gap)
    if laid is not None:
        yield laid, {}
        return
    refusal = refuse_irregular(stack)
    yield SetAside(refusal.code, str(refusal), uids(stack.frames), refused=True), {}


def _runs(runs: Sequence[Stack], max_gap: float) -> Iterator[Found]:
    """The runs of a stack; one that lacks a slice, or is one slice, is refused, and the others go on."""
    for number, run in enumerate(runs, 1):
        keys = {"run": f"{number} of {len(runs)}"}
        if len(run.frames) > 1:
            keys["spacing"] = f"{spacing_of(run):.2f}"
        if len(run.frames) == 1 or float(run.gaps.max()) > max(max_gap, GAP) * spacing_of(run) * (1 + 1e-6):
            refusal, stack = refuse_irregular(run), run.run_of[0].name
            yield SetAside(refusal.code, str(refusal), uids(run.frames), refused=True, stack=stack), keys
        else:
            yield run, keys


def _partition(stack: Stack, name: str) -> dict[str, list[FrameHeader]]:
    parts: dict[str, list[FrameHeader]] = {}
    for index, frame in enumerate(stack.frames):
        if name == "offset":
            pixels = stack.offset[index] / np.array(frame.pixel_spacing)
            value = "\\".join(f"{whole + 0.0:g}" for whole in np.rint(pixels))
        else:
            value = frame.key(name)
        parts.setdefault(value, []).append(frame)
    return parts


def _surplus(frames: Sequence[FrameHeader]) -> int:
    return len(frames) - len(stack_of(frames).positions())


def _separates(stack: Stack, parts: dict[str, list[FrameHeader]]) -> bool:
    """Whether a partition takes coincident frames apart, without shredding the stack slice by slice."""
    most = max(len(group) for group in stack.positions())
    if not 1 < len(parts) <= most + 2:
        return False
    return sum(_surplus(part) for part in parts.values()) < _surplus(stack.frames)


def _parts(name: str, parts: dict[str, list[FrameHeader]], max_gap: float) -> Iterator[Found]:
    for value, part in sorted(parts.items(), key=lambda item: (_rank(item[0]), _order(item[0]))):
        for outcome, keys in _resolve(part, max_gap):
            yield outcome, {name: value, **keys}


def _rank(value: str) -> int:
    """What shows the anatomy best comes first: a rule that names no volume takes the first of equal size."""
    return FIRST.index(value) if value in FIRST else len(FIRST)


def _order(value: str) -> tuple[float, str]:
    try:
        return float(value), ""
    except ValueError:
        return (float("inf") if value else float("-inf")), value


def _ranked(stack: Stack, name: str) -> dict[str, list[FrameHeader]]:
    """The n-th frame of each position, in the order of a time, as the n-th part; empty where that is not certain."""
    positions = stack.positions()
    counts = [len(group) for group in positions]
    falling = all(a >= b for a, b in pairwise(counts))
    rising = all(a <= b for a, b in pairwise(counts))
    if name == "instance_number" and len(set(counts)) > 1:
        return {}
    if not (falling or rising):  # one is missing in the middle: which one, nobody can tell
        return {}
    ranks: dict[str, list[FrameHeader]] = {}
    for group in positions:
        values = [frame.key(name) for frame in group]
        if "" in values or len(set(values)) < len(values):
            return {}
        for rank, frame in enumerate(sorted(group, key=lambda one: _order(one.key(name)))):
            ranks.setdefault(str(rank + 1), []).append(frame)
    return ranks


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
    """What volumes have in common that ought to have as many slices: all but the values of what tells them apart."""
    first = stack.frames[0]
    return (*keys, keys.get("plane"), first.rows, first.columns, first.pixel_spacing)

"""Parallel frames of equal matrix into regular stacks: by attributes, but only where they do not form one as they are.

Coincident frames are taken apart by the first principal attribute that separates them; then identical duplicates are
dropped; then the resolving attributes, then the times are tried (see `keys.py`). An uneven stack falls into runs, or
into grids that lie across each other, or is laid on the nearest planes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from voxtell_dicom.model import SetAside
from voxtell_dicom.series.duplicates import drop_identical
from voxtell_dicom.series.geometry import (
    GAP,
    UNEVEN_SAID,
    Stack,
    deviation,
    is_regular,
    on_planes,
    refuse_irregular,
    stack_of,
)
from voxtell_dicom.series.header import FrameHeader, uids
from voxtell_dicom.series.keys import PRINCIPAL, REFERENCE, RESOLVING, TIMES
from voxtell_dicom.series.runs import MIN_RUN, runs_by_thickness, runs_of, spacing_of

Keys = dict[str, str]
Found = tuple[Stack | SetAside, Keys]
FIRST = ("magnitude", "in phase", "water")  # of the kinds


def resolve(frames: Sequence[FrameHeader], max_gap: float) -> Iterator[Found]:
    """The regular stacks of parallel frames of equal matrix, or the reasons why there are none."""
    stack = stack_of(frames)
    if is_regular(stack):
        yield stack, {}
    elif stack.coincident:
        yield from _resolve_coincident(stack, max_gap)
    else:
        yield from _resolve_irregular(stack, max_gap)


def _resolve_coincident(stack: Stack, max_gap: float) -> Iterator[Found]:
    if refusal := _without_positions(stack):
        yield refusal, {}
        return
    for name in (*PRINCIPAL, REFERENCE, "offset"):
        parts = _partition(stack, name)
        if _separates(stack, parts):
            yield from _parts(name, parts, max_gap)
            return
    kept, dropped = drop_identical(stack)
    if dropped:
        words = "the same position and the same pixels as another slice"
        reason = f"{dropped[0].name}: {words} ({len(dropped)} in all): dropped"
        yield SetAside("duplicate", reason, uids(dropped)), {}
        yield from resolve(kept, max_gap)
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


def _without_positions(stack: Stack) -> SetAside | None:
    """The refusal of slices that all say they lie at one place, while their Slice Location says that they do not."""
    locations = {frame.slice_location for frame in stack.frames}
    if len(stack.positions()) > 1 or len(locations) < len(stack.frames):
        return None
    first = stack.frames[0]
    reason = (
        f"{first.name}: Image Position (Patient) (0020,0032) of all {len(stack.frames)} slices lies in one plane, "
        "while Slice Location (0020,1041) differs from slice to slice"
    )
    return SetAside("coincident-slices", reason, uids(stack.frames), refused=True)


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
    for name in (REFERENCE, *RESOLVING):
        parts = _partition(stack, name)
        if len(parts) > 1 and _are_grids_across_each_other([stack_of(part) for part in parts.values()]):
            yield from _parts(name, parts, max_gap)
            return
    laid = on_planes(stack, max_gap)
    if laid is not None:
        yield laid, {}
        return
    refusal = refuse_irregular(stack)
    yield SetAside(refusal.code, str(refusal), uids(stack.frames), refused=True), {}


def _are_grids_across_each_other(parts: Sequence[Stack]) -> bool:
    """Return True if parts are grids of their own that lie within one another, so that no slices lack where they meet.

    Two acquisitions of one region that start at different heights, such as the phases of a contrast agent.
    """
    if not all(len(part.frames) >= MIN_RUN and is_regular(part) and deviation(part) <= UNEVEN_SAID for part in parts):
        return False
    ordered = sorted(parts, key=lambda part: float(part.depth[0]))
    ends = [max(float(part.depth[-1]) for part in ordered[:count]) for count in range(1, len(ordered))]
    return all(float(after.depth[0]) < end for end, after in zip(ends, ordered[1:], strict=True))


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
    """Return True if a partition takes coincident frames apart, without shredding the stack slice by slice."""
    most = max(len(group) for group in stack.positions())
    if not 1 < len(parts) <= most + 2:
        return False
    return sum(_surplus(part) for part in parts.values()) < _surplus(stack.frames)


def _parts(name: str, parts: dict[str, list[FrameHeader]], max_gap: float) -> Iterator[Found]:
    for value, part in sorted(parts.items(), key=lambda item: (_rank(item[0]), order_of(item[0]))):
        for outcome, keys in resolve(part, max_gap):
            yield outcome, {name: value, **keys}


def _rank(value: str) -> int:
    """Return what shows the anatomy best comes first: a rule that names no volume takes the first of equal size."""
    return FIRST.index(value) if value in FIRST else len(FIRST)


def order_of(value: str) -> tuple[float, str]:
    """Sorts values as numbers where they are, what is absent first."""
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
        for rank, frame in enumerate(sorted(group, key=lambda one: order_of(one.key(name)))):
            ranks.setdefault(str(rank + 1), []).append(frame)
    return ranks

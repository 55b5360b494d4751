"""A stack whose spacing changes along the way: runs of constant spacing, each a regular volume."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby, pairwise

import numpy as np

from voxtell_dicom.series.geometry import GAP, Stack, is_regular, on_planes, stack_of

MIN_RUN = 3  # frames that make a run of constant spacing
SAME_MM, SAME = 0.02, 0.04  # gaps are equal within this many mm, or this part of the gap
CHANGED = 0.1  # how much the spacing changes from run to run
MULTIPLE = 0.05  # how near a ratio of spacings is to 2, 3 … to look like slices left out


def runs_of(stack: Stack) -> list[Stack]:
    """The runs of constant spacing in order; none where the stack does not fall into runs or slices seem to be missing.

    Slices between two runs that lie in neither are taken to the one on whose grid they fit better, with a warning. A
    gap within a run is bridged, however wide: whether that is allowed is for the caller to say. Elsewhere slices seem
    to be missing where the gap between two runs exceeds 1.5 times the larger spacing, or where the spacing of a run is
    a whole multiple of another's at the same Slice Thickness (0018,0050).
    """
    runs = _bridged(_taken_to_neighbours(_pieces(stack)))
    if len(runs) < 2 or not all(_is_run(run) for run in runs):
        return []
    for before, after in pairwise(runs):
        if after.depth[0] - before.depth[-1] > GAP * max(spacing_of(before), spacing_of(after)):
            return []
        ratio = _ratio(before, after)
        if ratio < 1 + CHANGED:
            return []
        thickness = before.frames[0].slice_thickness, after.frames[0].slice_thickness
        if thickness[0] == thickness[1] and round(ratio) > 1 and abs(ratio - round(ratio)) < MULTIPLE:
            return []
    return [replace(run, run_of=stack.frames) for run in runs]


def runs_by_thickness(stack: Stack) -> list[Stack]:
    """Parts of one Slice Thickness (0018,0050) each that follow one another, where distances alone do not tell of runs.

    They may be as short, and as far apart, as they are: the thickness says what belongs together. A part may be a
    single slice, for the caller to refuse. None where one is not regular, or two lie within one another.
    """
    parts = [stack_of(list(part)) for _, part in groupby(stack.frames, key=lambda frame: frame.key("thickness"))]
    values = {part.frames[0].key("thickness") for part in parts}
    single = [part for part in parts if len(part.frames) == 1]
    told_apart = len(values) == len(parts) > 1 and "" not in values
    if (
        not told_apart
        or 2 * len(single) > len(parts)
        or not any(_is_run(part) for part in parts)
        or not all(is_regular(part) for part in parts if len(part.frames) > 1)
    ):
        return []
    return [replace(part, run_of=stack.frames) for part in parts]


def spacing_of(run: Stack) -> float:
    """The usual distance of neighbouring frames, mm."""
    return float(np.median(run.gaps))


def _ratio(one: Stack, other: Stack) -> float:
    """Of the larger spacing to the smaller."""
    return max(spacing_of(one), spacing_of(other)) / min(spacing_of(one), spacing_of(other))


def _is_run(piece: Stack) -> bool:
    return bool(piece.planes) or (len(piece.frames) >= MIN_RUN and is_regular(piece))


def _pieces(stack: Stack) -> list[Stack]:
    """The stack cut where the distance of neighbours changes: runs, and between them the frames that lie in none.

    A frame where two runs meet is the first one's, unless only the other needs it to be a run.
    """
    gaps = stack.gaps
    groups = [[0, 1]]  # of equal gaps
    for index in range(1, len(gaps)):
        start = groups[-1][0]
        if _equal(gaps[index], float(np.mean(gaps[start:index]))):
            groups[-1][1] = index + 1
        else:
            groups.append([index, index + 1])
    cuts = {0, len(stack.frames)}
    taken = 0  # frames before this one are in a run
    for (start, end), following in zip(groups, [*groups[1:], None], strict=True):
        first, last = max(start, taken), end + 1
        if following and following[1] - following[0] == MIN_RUN - 1 and last - first > MIN_RUN:
            last = end
        if last - first >= MIN_RUN:
            cuts |= {first, last}
            taken = last
    return [stack_of(stack.frames[start:end]) for start, end in pairwise(sorted(cuts))]


def _equal(gap: float, usual: float) -> bool:
    return abs(gap - usual) <= max(SAME_MM, SAME * usual)


def _taken_to_neighbours(pieces: Sequence[Stack]) -> list[Stack]:
    """Pieces too short to be runs laid on the planes of a neighbouring run, as uneven slices are; else as they are."""
    found = list(pieces)
    while len(found) > 2:
        fits = []
        for index, piece in enumerate(found):
            if not _is_run(piece):
                fits += [(*fit, at) for at in (index - 1, index) if (fit := _laid(found, at, piece))]
        if not fits:
            break
        _, merged, at = min(fits, key=lambda fit: fit[0])
        found[at : at + 2] = [merged]
    return found


def _bridged(runs: Sequence[Stack]) -> list[Stack]:
    """Neighbours of the same spacing as one run, on a regular grid with a gap; one may be too short for a run."""
    found = list(runs[:1])
    for run in runs[1:]:
        both = None
        several = len(run.frames) > 1 and len(found[-1].frames) > 1
        if several and (_is_run(run) or _is_run(found[-1])) and _ratio(found[-1], run) < 1 + CHANGED:
            both = on_planes(stack_of((*found[-1].frames, *run.frames)), math.inf)
        if both is None:
            found.append(run)
        else:
            found[-1] = both
    return found


def _laid(pieces: Sequence[Stack], at: int, short: Stack) -> tuple[float, Stack] | None:
    """Two neighbours on one grid, and how far the short one lies off it, in parts of its spacing.

    at: the position of the first of the two. None where they do not fit.
    """
    if not 0 <= at < len(pieces) - 1 or not any(_is_run(piece) for piece in pieces[at : at + 2]):
        return None
    both = on_planes(stack_of((*pieces[at].frames, *pieces[at + 1].frames)), GAP)
    if both is None:
        return None
    run = pieces[at + 1] if pieces[at] is short else pieces[at]
    spacing = spacing_of(run)
    away = (short.depth - run.depth[0]) / spacing
    off = float(np.abs(away - np.rint(away)).max())
    names = ", ".join(frame.name for frame in short.frames)
    said = (
        f"runs: {names}: in no run of constant spacing; taken to that of {spacing:.2f} mm, {off * spacing:.2f} mm off"
    )
    return off, replace(both, warnings=(*pieces[at].warnings, *pieces[at + 1].warnings, said))

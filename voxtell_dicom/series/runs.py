"""A stack whose spacing changes along the way: runs of constant spacing, each a regular volume."""

from __future__ import annotations

from itertools import pairwise

from voxtell_dicom.model import Volume
from voxtell_dicom.series.geometry import GAP, Stack, is_regular, stack_of

MIN_RUN = 3  # frames that make a run of constant spacing
SAME_MM, SAME = 0.02, 0.02  # gaps are equal within this many mm, or this part of the gap
CHANGED = 0.1  # how much the spacing changes from run to run
MULTIPLE = 0.05  # how near a ratio of spacings is to 2, 3 … to look like slices left out


def runs_of(stack: Stack) -> list[Stack]:
    """The runs of constant spacing in order; none where the stack does not fall into runs or slices seem to be missing.

    Slices seem to be missing where the gap between two runs exceeds 1.5 times the larger spacing, or where the spacing
    of a run is a whole multiple of another's at the same Slice Thickness (0018,0050).
    """
    gaps = stack.gaps
    starts = [0]
    ends: list[int] = []
    for index in range(1, len(gaps)):
        start = starts[-1]
        if index > start and abs(gaps[index] - gaps[start]) > max(SAME_MM, SAME * gaps[start]):
            ends.append(index)
            starts.append(index + 1)
    ends.append(len(gaps))
    runs = [stack_of(stack.frames[start : end + 1]) for start, end in zip(starts, ends, strict=True)]
    if len(runs) < 2 or any(len(run.frames) < MIN_RUN or not is_regular(run) for run in runs):
        return []
    for before, after in pairwise(runs):
        spacings = float(before.gaps.mean()), float(after.gaps.mean())
        if after.depth[0] - before.depth[-1] > GAP * max(spacings):
            return []
        ratio = max(spacings) / min(spacings)
        if ratio < 1 + CHANGED:
            return []
        thickness = before.frames[0].slice_thickness, after.frames[0].slice_thickness
        if thickness[0] == thickness[1] and round(ratio) > 1 and abs(ratio - round(ratio)) < MULTIPLE:
            return []
    return runs


def stack_of_runs(volume: Volume) -> tuple[tuple[str, str], ...]:
    """What the runs of one stack have in common, and two volumes that are not runs of one stack have not."""
    if "run" not in volume.keys:
        return (*volume.keys.items(), ("name", volume.name))
    return tuple((name, value) for name, value in volume.keys.items() if name not in ("run", "spacing"))

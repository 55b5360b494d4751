"""The runs of one stack as one volume: they are segmented each for itself, and their masks are one result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from voxtell_dicom.errors import GridMismatch
from voxtell_dicom.model import Volume, canonical_digest
from voxtell_dicom.series.geometry import GAP
from voxtell_dicom.series.names import describe


def stacks_of(volumes: Sequence[Volume]) -> list[list[int]]:
    """Return which of the volumes of a series make one result: their positions, the runs of one stack together."""
    stacks: dict[str, list[int]] = {}
    for position, volume in enumerate(volumes):
        stacks.setdefault(volume.stack or f"volume {position}", []).append(position)
    return list(stacks.values())


def joined(runs: Sequence[Volume]) -> Volume:
    """Runs of one stack as one volume, whose parts they are; a single volume is given back.

    Its key is the SHA-256 of the sorted keys of the runs. Where runs of the stack are left out, a warning says so.
    Raises GridMismatch where they are no runs of one stack.
    """
    first, *others = sorted(runs, key=lambda run: _depths(run, runs[0])[0])
    if not others:
        return replace(first, warnings=(_said([first]), *first.warnings)) if first.stack else first
    parts = (first, *others)
    for part in others:
        _check_same(first, part)
    for before, after in pairwise(parts):
        if _depths(after, first)[0] <= _depths(before, first)[-1]:
            raise GridMismatch(f"series {first.series_uid}: {before.name!r} and {after.name!r} overlap")
    frames = tuple(frame for part in parts for frame in part.frames)
    usual = sum(len(part.frames) * part.grid.spacing_mm[0] for part in parts) / len(frames)
    spacing_mm = (usual, *first.grid.spacing_mm[1:])
    keys = _keys(parts)
    said = [_said(parts), *(f"gap: {gap}; slices may be missing there" for gap in gaps_between(parts))]
    return replace(
        first,
        name=describe(keys) + first.name.removeprefix(describe(first.keys)),
        frames=frames,
        grid=replace(first.grid, shape=(len(frames), *first.grid.shape[1:]), spacing_mm=spacing_mm),
        key=canonical_digest(sorted(part.key for part in parts)) if all(part.key for part in parts) else "",
        warnings=tuple(dict.fromkeys((*said, *(warning for part in parts for warning in part.warnings)))),
        keys=keys,
        parts=parts,
    )


def gaps_between(runs: Sequence[Volume], max_gap: float = GAP) -> Iterator[str]:
    """What lies between neighbouring runs that are more than `max_gap` times the larger of their spacings apart."""
    for before, after in pairwise(runs):
        gap = _depths(after, before)[0] - _depths(before, before)[-1]
        spacing = max(before.grid.spacing_mm[0], after.grid.spacing_mm[0])
        if _number(after) == _number(before) + 1 and gap > max(max_gap, GAP) * spacing * (1 + 1e-6):
            yield f"{gap:.2f} mm between run {_number(before)} and run {_number(after)}"


def _number(run: Volume) -> int:
    return int(run.keys["run"].split(" of ")[0])


def _depths(run: Volume, first: Volume) -> list[float]:
    return [float(np.dot(frame.position_mm, first.grid.normal)) for frame in run.frames]


def _check_same(one: Volume, other: Volume) -> None:
    for name, mine, its in (
        ("stack", one.stack or "none", other.stack),
        ("Series Instance UID (0020,000E)", one.series_uid, other.series_uid),
        ("Frame of Reference UID (0020,0052)", one.frame_of_reference_uid, other.frame_of_reference_uid),
        ("Rows, Columns", one.grid.shape[1:], other.grid.shape[1:]),
    ):
        if mine != its:
            words = f"{name} is {mine} in {one.name!r} and {its or 'none'} in {other.name!r}"
            raise GridMismatch(f"series {one.series_uid}: {words}: they cannot be joined")


def _keys(parts: Sequence[Volume]) -> dict[str, str]:
    """Return what distinguishes the joined volume: of a part of its stack, which runs it has."""
    keys = {name: value for name, value in parts[0].keys.items() if name not in ("run", "spacing")}
    numbers, counts = zip(*(part.keys["run"].split(" of ") for part in parts), strict=True)
    return keys if len(parts) == int(counts[0]) else {**keys, "run": f"{', '.join(numbers)} of {counts[0]}"}


def _said(parts: Sequence[Volume]) -> str:
    pieces = ", ".join(f"{len(part.frames)} slices {part.grid.spacing_mm[0]:.2f} mm apart" for part in parts)
    number, count = parts[0].keys["run"].split(" of ")
    if len(parts) == int(count):
        return f"runs: the spacing changes along the stack ({pieces}); each run was segmented for itself"
    numbers = _keys(parts)["run"] if len(parts) > 1 else f"{number} of {count}"
    return f"runs: the spacing changes along the stack; only run {numbers} is in this result ({pieces})"

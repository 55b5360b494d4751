"""Closed planar contours of a mask's frames: half-way between the centres of mask and background voxels.

A contour taken so contains exactly the centres of the mask's voxels: a reader that rasterises by centres gets the mask.
All rings of a frame are handled at once, as arrays: a noisy mask has ten thousands of them.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from contourpy import FillType, contour_generator
from scipy.spatial import cKDTree

from voxtell_dicom.model import BoolArray

Points = npt.NDArray[np.float64]  # (points, 2): row, column, in voxels from the centre of the first
Ints = npt.NDArray[np.intp]
NEAR = 12  # neighbours among which the way from a hole to another ring is looked for first


@dataclass(frozen=True)
class Rings:
    """Closed rings; the first point of none is repeated at its end, and each has at least four.

    Ring i is `points[starts[i]:starts[i + 1]]`. `shapes` are the first rings of connected parts, with one more at the
    end: rings `shapes[k]` (the outer one) to `shapes[k + 1]` (its holes) make one part.
    """

    points: Points
    starts: Ints
    shapes: Ints

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def holes(self) -> int:
        """Return how many there are."""
        return len(self) - (len(self.shapes) - 1)

    def ring(self, number: int) -> Points:
        """The points of one ring."""
        return self.points[self.starts[number] : self.starts[number + 1]]


NONE = Rings(np.zeros((0, 2)), np.zeros(1, np.intp), np.zeros(1, np.intp))


def rings(frame: BoolArray) -> Rings:
    """Outer rings, each followed by its holes."""
    padded = np.pad(frame, 1).astype(np.float64)
    generator = contour_generator(z=padded, fill_type=FillType.ChunkCombinedOffsetOffset)
    chunks: Any = generator.filled(0.5, np.inf)
    (points,), (offsets,), (shapes,) = chunks
    if points is None:
        return NONE
    offsets = offsets.astype(np.intp)
    closing = np.zeros(len(points), bool)
    closing[offsets[1:] - 1] = True  # the first point again
    corners = np.asarray(points, np.float64)[~closing, ::-1] - 1
    starts = offsets - np.arange(len(offsets))
    return _straight(Rings(corners, starts, shapes.astype(np.intp)))


def keyholed(found: Rings) -> Rings:
    """Each hole joined to its part by a channel of no width (PS3.3 C.8.8.6.3): one ring for each part.

    A channel is walked there and back, so it fills nothing wherever it lies.
    """
    if not found.holes:
        return found
    joined = [
        _join([found.ring(number) for number in range(first, stop)])
        for first, stop in itertools.pairwise(found.shapes.tolist())
    ]
    starts = np.cumsum([0, *(len(ring) for ring in joined)])
    return Rings(np.concatenate(joined), starts, np.arange(len(starts)))


def _straight(found: Rings) -> Rings:
    """Without the points that lie on a straight line between their neighbours."""
    points, starts = found.points, found.starts
    before, after = np.arange(len(points)) - 1, np.arange(len(points)) + 1
    before[starts[:-1]], after[starts[1:] - 1] = starts[1:] - 1, starts[:-1]
    one, other = points - points[before], points[after] - points
    corners = np.abs(one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]) > 1e-9
    return Rings(points[corners], np.concatenate([[0], np.cumsum(corners)])[starts], found.shapes)


def _join(parts: list[Points]) -> Points:
    """One ring of an outer one and its holes: each hole hangs on a ring whose leftmost point is not right of its own.

    So the rings make a tree with the outer one as its root, which is walked once, from ring to ring and back.
    """
    if len(parts) == 1:
        return parts[0]
    holes = sorted(parts[1:], key=lambda hole: float(hole[:, 1].min()))
    chain = [parts[0], *(np.roll(hole, -int(hole[:, 1].argmin()), axis=0) for hole in holes)]
    lengths = [len(ring) for ring in chain]
    points, owner = np.concatenate(chain), np.repeat(np.arange(len(chain)), lengths)
    first = np.cumsum([0, *lengths])
    heads = points[first[1:-1]]  # of the holes
    _, near = cKDTree(points).query(heads, k=min(NEAR, len(points)))
    children: dict[int, list[int]] = {}
    for number, candidates in enumerate(near, 1):
        earlier = candidates[owner[candidates] < number]
        if earlier.size:
            at = int(earlier[0])
        else:
            at = int(((points[: first[number]] - points[first[number]]) ** 2).sum(axis=1).argmin())
        children.setdefault(at, []).append(number)
    walked: list[int] = []
    pending = [iter(range(first[0], first[1]))]
    closing: list[tuple[int, ...]] = [()]
    while pending:
        at = next(pending[-1], -1)
        if at < 0:
            pending.pop()
            walked += closing.pop()
            continue
        walked.append(at)
        for number in children.get(at, ()):
            pending.append(iter(range(first[number], first[number + 1])))
            closing.append((int(first[number]), at))  # close the hole, and back through the channel
    return points[walked]

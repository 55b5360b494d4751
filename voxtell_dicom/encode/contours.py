"""Closed planar contours of a mask's frames: half-way between the centres of mask and background voxels.

A contour taken so contains exactly the centres of the mask's voxels: a reader that rasterises by centres gets the mask.
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
from contourpy import FillType, contour_generator

from voxtell_dicom.model import BoolArray

Ring = npt.NDArray[np.float64]  # (points, 2): row, column; the first point is not repeated at the end


def keyholed(frame: BoolArray) -> list[Ring]:
    """Rings (row, column in voxels from the centre of the first) of one frame, each at least four points.

    A hole is joined to its outer ring by a channel of no width (PS3.3 C.8.8.6.3, the keyhole technique): readers that
    know only single closed contours leave the hole out of the structure.
    """
    return [_join(outer, holes) for outer, holes in rings(frame)]


def rings(frame: BoolArray) -> list[tuple[Ring, list[Ring]]]:
    """Outer rings, each with its holes."""
    padded = np.pad(frame, 1).astype(np.float64)
    shapes = contour_generator(z=padded, fill_type=FillType.OuterOffset).filled(0.5, np.inf)
    found = []
    for points, offsets in zip(*shapes, strict=True):
        parts = [
            _straight(np.asarray(points[start : stop - 1], np.float64)[:, ::-1] - 1)
            for start, stop in itertools.pairwise(offsets)
        ]
        found.append((parts[0], parts[1:]))
    return found


def _straight(ring: Ring) -> Ring:
    """Without the points that lie on a straight line between their neighbours."""
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    turn = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    corners = ring[np.abs(turn) > 1e-9]
    return corners if len(corners) >= 3 else ring


def _join(outer: Ring, holes: list[Ring]) -> Ring:
    """One ring that runs round the outer and, through channels, round each hole, from left to right.

    A channel is walked there and back, so it fills nothing wherever it lies.
    """
    for hole in sorted(holes, key=lambda hole: float(hole[:, 1].min())):
        turned = np.roll(hole, -int(hole[:, 1].argmin()), axis=0)
        at = int(((outer - turned[0]) ** 2).sum(axis=1).argmin())
        outer = np.concatenate([outer[: at + 1], turned, turned[:1], outer[at:]])
    return outer

"""Which permutation and flips bring a source grid closest to RAS: nibabel's rule (`nibabel.io_orientation`), exactly.

The same decision as nnU-Net's NibabelIOWithReorient takes on the NIfTI file of the same series, ties included as far
as the order of the axes tells: the strongest axis is assigned first.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from voxtell_dicom.model import Grid, ToRas

LPS_TO_RAS = np.array((-1.0, -1.0, 1.0))


def index_axes(grid: Grid) -> npt.NDArray[np.float64]:
    """3 × 3: columns are the RAS directions (unit vectors) of growing column, row and frame index."""
    columns = np.array((grid.row_cosine, grid.column_cosine, grid.normal), float).T
    return np.asarray(columns * LPS_TO_RAS[:, None])


def nearest_axes(directions: npt.NDArray[np.float64]) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """For each input axis (a column of `directions`) the nearest world axis, each used once; and if it runs against."""
    left, _, right = np.linalg.svd(directions)
    rotation = left @ right  # the nearest rotation (or reflection): polar decomposition
    nearest = [0, 0, 0]
    against = [False, False, False]
    for axis in np.argsort(-np.max(rotation**2, axis=0), kind="stable"):
        world = int(np.argmax(np.abs(rotation[:, axis])))
        nearest[axis] = world
        against[axis] = bool(rotation[world, axis] < 0)
        rotation[world, :] = 0
    return (nearest[0], nearest[1], nearest[2]), (against[0], against[1], against[2])


def to_ras_of(grid: Grid) -> ToRas:
    """The permutation and flips for a source grid (frame, row, column)."""
    nearest, against = nearest_axes(index_axes(grid))  # of column, row, frame
    source = (2, 1, 0)  # the axis number in (frame, row, column) of column, row, frame
    axes = [0, 0, 0]
    flips = [False, False, False]
    for which, world in enumerate(nearest):
        ras = 2 - world  # (z, y, x) counts the world axes (x, y, z) backwards
        axes[ras] = source[which]
        flips[ras] = against[which]
    return ToRas((axes[0], axes[1], axes[2]), (flips[0], flips[1], flips[2]))

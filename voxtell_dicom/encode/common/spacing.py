"""Spacing Between Slices of a segmentation of a stack whose spacing changes."""

from __future__ import annotations

import numpy as np

from voxtell_dicom.model import Volume

MOST_PLANES, MOST_PARTS = 1024, 16  # of the grid of a joined volume, and into how many the least gap is parted for it
ON_GRID_MM = 0.005


def common_step_mm(volume: Volume) -> float:
    """Spacing Between Slices of a joined volume: of the coarsest grid on which its frames lie, each on its own plane.

    Readers that make one array of a segmentation (dcmqi, highdicom) lay frames on a grid of this step, which the first
    frame says for all: with the spacing of a run, those of a finer run would be merged. Planes without a frame are
    empty, as everywhere in a SEG. Where no grid of at most `MOST_PLANES` fits, the one that fits best.
    """
    depths = np.array([frame.position_mm for frame in volume.frames]) @ np.array(volume.grid.normal)
    along = depths - depths[0]
    least = float(np.diff(along).min())
    fits: list[tuple[float, float]] = []
    for parts in range(1, MOST_PARTS + 1):
        step = least / parts
        if fits and along[-1] / step > MOST_PLANES:
            break
        off = float(np.abs(along - step * np.rint(along / step)).max())
        fits.append((off, step))
        if off <= ON_GRID_MM:
            break
    return min(fits)[1]

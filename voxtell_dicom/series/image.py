"""A volume's RAS grid in patient space, and a SimpleITK image of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from voxtell_dicom.errors import GridMismatch
from voxtell_dicom.model import Volume

Floats = npt.NDArray[np.float64]


def ras_axes(volume: Volume) -> tuple[Floats, Floats]:
    """Origin and axes of the RAS grid, LPS mm: the centre of voxel (z, y, x) is ``origin + axes @ (z, y, x)``.

    axes: 3 × 3, its columns the steps along z, y and x. A tilted volume's frames lie on it to within half a pixel.
    """
    grid = volume.grid
    directions = np.array((grid.normal, grid.column_cosine, grid.row_cosine), float).T * np.array(grid.spacing_mm)
    down, along = volume.frames[0].shift_px
    origin = np.array(grid.origin_mm) - directions[:, 1] * down - directions[:, 2] * along
    axes = directions[:, volume.to_ras.axes].copy()
    for axis, flip in enumerate(volume.to_ras.flips):
        if flip:
            origin = origin + axes[:, axis] * (volume.shape_zyx[axis] - 1)
            axes[:, axis] *= -1
    return origin, axes


def to_sitk(volume: Volume, array: npt.NDArray[Any]) -> sitk.Image:
    """An array (z, y, x) on the volume's RAS grid as a SimpleITK image in patient space. Raises GridMismatch."""
    if array.shape != volume.shape_zyx:
        raise GridMismatch(f"an array of {array.shape} does not fit the volume's {volume.shape_zyx}")
    origin, axes = ras_axes(volume)
    spacing = np.linalg.norm(axes, axis=0)
    image = sitk.GetImageFromArray(array)
    image.SetOrigin(origin.tolist())
    image.SetSpacing(spacing[::-1].tolist())
    image.SetDirection((axes / spacing)[:, ::-1].flatten().tolist())
    return image

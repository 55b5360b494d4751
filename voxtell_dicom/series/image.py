"""A volume as a SimpleITK image in patient space."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from voxtell_dicom.errors import GridMismatch
from voxtell_dicom.model import Volume, ras_axes


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

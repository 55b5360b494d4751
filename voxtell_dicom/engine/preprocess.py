"""What nnU-Net does to a volume before VoxTell sees it: crop to what is not zero, then z-score over the crop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from voxtell_dicom.errors import Refusal
from voxtell_dicom.model import Box

_LEAST_DEVIATION = 1e-8


@dataclass(frozen=True)
class Prepared:
    """The z-scored crop, float32 (z, y, x), and where it lies in the volume."""

    crop: npt.NDArray[np.float32]
    box_zyx: Box


def prepare(array_zyx: npt.NDArray[np.float32]) -> Prepared | None:
    """array_zyx: RAS volume. None where every voxel is 0. Raises Refusal where it is none, or a voxel not finite."""
    if array_zyx.ndim != 3:
        raise Refusal("not-3d", f"a volume has three axes (z, y, x), not the shape {array_zyx.shape}: is it array[0]?")
    solid = array_zyx != 0
    ranges = []
    for axis in range(3):
        hits = np.flatnonzero(solid.any(axis=tuple(i for i in range(3) if i != axis)))
        if hits.size == 0:
            return None
        ranges.append((int(hits[0]), int(hits[-1]) + 1))
    box: Box = (ranges[0], ranges[1], ranges[2])
    with np.errstate(over="ignore", invalid="ignore"):  # told below
        crop = array_zyx[tuple(slice(*r) for r in box)].astype(np.float32)  # a copy: scaled in place below
        mean, deviation = crop.mean(), crop.std()
    if not (np.isfinite(mean) and np.isfinite(deviation)):
        raise Refusal("not-finite", "the volume holds voxel values that are not finite numbers, or beyond 1e19")
    crop -= mean
    crop /= max(deviation, _LEAST_DEVIATION)
    return Prepared(crop, box)

"""Volumes to another spacing and probabilities back: edges of the grids coincide, so nothing shifts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from voxtell_dicom.engine.accumulator import UNCERTAIN
from voxtell_dicom.model import Mask, Request, Segment, Vector

_MODES = {0: "linear", 1: "area"}


def resampled_shape(shape: Sequence[int], spacing_mm: Vector, target_mm: float) -> tuple[int, int, int]:
    """Voxels along each axis at about `target_mm`, over the same extent."""
    z, y, x = (max(1, round(n * s / target_mm)) for n, s in zip(shape, spacing_mm, strict=True))
    return z, y, x


def resample(array_zyx: npt.NDArray[np.float32], shape: Sequence[int]) -> npt.NDArray[np.float32]:
    """The array on a grid of `shape` over the same extent: averaged along axes that shrink, linear along the others."""
    current = torch.from_numpy(np.ascontiguousarray(array_zyx, dtype=np.float32))
    for axis, size in enumerate(shape):
        if current.shape[axis] == size:
            continue
        moved = current.movedim(axis, -1)
        flat = moved.reshape(-1, 1, moved.shape[-1])
        mode = _MODES[size < flat.shape[-1]]
        resized = F.interpolate(flat, size, mode=mode, align_corners=False if mode == "linear" else None)
        current = resized.view(*moved.shape[:-1], size).movedim(-1, axis)
    result: npt.NDArray[np.float32] = current.contiguous().numpy()
    return result


def back_on_source(
    coarse: Segment, request: Request, coarse_shape: Sequence[int], source_shape: Sequence[int]
) -> Segment:
    """A segment with probabilities on a resampled grid, thresholded on the source grid as `request` wants it.

    Two prompts of an exclusive group share no voxel as long as their thresholds are at least one half.
    """
    probability = np.zeros(tuple(coarse_shape), np.float32)
    if coarse.voxels:
        assert coarse.probability is not None
        probability[coarse.mask.slices] = np.where(coarse.mask.crop(), coarse.probability, 0)
    fine = resample(probability, source_shape)
    mask = Mask.from_array(fine > request.threshold)
    values = fine[mask.slices]
    low, high = UNCERTAIN
    likely = np.count_nonzero(fine > low)
    uncertain = np.count_nonzero((fine > low) & (fine < high))
    return Segment(
        request=request,
        box_zyx=mask.box,
        packed_bits=mask.packed_bits,
        voxels=mask.voxels,
        mean_probability=float(values[mask.crop()].mean(dtype=np.float64)) if mask.voxels else None,
        uncertain_share=uncertain / likely if likely else None,
        probability=values.astype(np.float16) if request.probability else None,
    )

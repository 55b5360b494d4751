"""Masks cleaned up after the network, inside their boxes: holes, components, small pieces."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from voxtell_dicom.model import BoolArray, Box, Cleanup, Mask, Segment, Vector

_TOUCHING = np.ones((3, 3, 3), bool)  # 26-connected
_MM3_PER_ML = 1000.0


def cleaned(mask: Mask, cleanup: Cleanup, spacing_mm: Vector) -> Mask:
    """The mask with `cleanup` done to it. spacing_mm: along the mask's own axes."""
    if not mask.voxels or cleanup == Cleanup():
        return mask
    crop = mask.crop()
    if cleanup.fill_holes:
        crop = ndimage.binary_fill_holes(crop)
    least = math.ceil(cleanup.minimum_ml * _MM3_PER_ML / math.prod(spacing_mm))
    if cleanup.largest_component or least > 1:
        crop = _components(crop, least, largest_only=cleanup.largest_component)
    return _placed(crop, mask.box)


def cleaned_segment(segment: Segment, spacing_mm: Vector) -> Segment:
    """The segment with its request's clean-up done; its probabilities stay as the network gave them, in the new box."""
    before = segment.mask
    after = cleaned(before, segment.request.cleanup, spacing_mm)
    if after is before:
        return segment
    probability = segment.probability
    if probability is not None:
        inner = (slice(a - low, b - low) for (a, b), (low, _) in zip(after.box, before.box, strict=True))
        probability = probability[tuple(inner)] if after.voxels else probability[:0, :0, :0]
    return replace(
        segment,
        box_zyx=after.box,
        packed_bits=after.packed_bits,
        voxels=after.voxels,
        mean_probability=segment.mean_probability if after.voxels else None,
        probability=probability,
    )


def _components(crop: BoolArray, least_voxels: int, *, largest_only: bool) -> BoolArray:
    labels, count = ndimage.label(crop, structure=_TOUCHING)
    if not count:
        return crop
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    keep: npt.NDArray[np.bool_] = sizes >= max(least_voxels, 1)
    if largest_only:
        keep &= np.arange(count + 1) == sizes.argmax()
    return np.asarray(keep[labels], dtype=bool)


def _placed(crop: BoolArray, box: Box) -> Mask:
    """A mask from what is left in a box."""
    inner = Mask.from_array(crop)
    if not inner.voxels:
        return inner
    z, y, x = ((low + a, low + b) for (low, _), (a, b) in zip(box, inner.box, strict=True))
    return Mask((z, y, x), inner.packed_bits, inner.voxels)

"""Where the body lies in a volume, coarsely: for the options that spare windows of air.

Air is told from the rest by Otsu's threshold (IEEE Trans. SMC 9, 1979) over blocks of voxels, taken half-way back
towards air to keep lungs, fat and faint limbs; the largest connected part is the body, its cavities included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch.nn import functional as F

from voxtell_dicom.model import Box

_BLOCK = 4  # voxels
_BINS = 256
_BRIGHT = 95.0  # percentile: what is brighter counts as this bright, or a hot bladder would make the rest look like air


@dataclass(frozen=True)
class Body:
    """blocks: bool, one per `_BLOCK`³ voxels of a volume of `shape`, with a margin of one block all round the body."""

    blocks: npt.NDArray[np.bool_]
    shape: tuple[int, int, int]

    @property
    def box(self) -> Box:
        """Its bounding box in voxels."""
        ranges = []
        for axis, size in enumerate(self.shape):
            hits = np.flatnonzero(self.blocks.any(axis=tuple(i for i in range(3) if i != axis)))
            ranges.append((int(hits[0]) * _BLOCK, min((int(hits[-1]) + 1) * _BLOCK, size)))
        return ranges[0], ranges[1], ranges[2]

    def cropped(self) -> Body:
        """The same on the grid of its box."""
        box = self.box
        blocks = self.blocks[tuple(slice(low // _BLOCK, -(-high // _BLOCK)) for low, high in box)]
        z, y, x = (high - low for low, high in box)
        return Body(blocks, (z, y, x))

    def meets(self, start: Sequence[int], patch: Sequence[int]) -> bool:
        """Whether a window at `start` (which may lie outside the volume) holds a voxel of it."""
        part = tuple(
            slice(max(s, 0) // _BLOCK, max(-(-(s + p) // _BLOCK), 0)) for s, p in zip(start, patch, strict=True)
        )
        return bool(self.blocks[part].any())


def body_of(volume: npt.NDArray[np.float32]) -> Body:
    """volume: (z, y, x), any unit; air must be its darkest part. All of it where nothing is brighter than the rest."""
    z, y, x = volume.shape
    block = [min(_BLOCK, n) for n in volume.shape]  # one, cut short, along an axis of three voxels
    blocks = F.avg_pool3d(torch.from_numpy(volume)[None, None], block, ceil_mode=True, count_include_pad=False)
    coarse = blocks[0, 0].numpy()
    bright = coarse > _above_air(coarse)
    labels, count = ndimage.label(bright, structure=np.ones((3, 3, 3)))
    if count:
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        bright = labels == sizes.argmax()
    else:  # nothing stands out: nothing is spared
        bright = np.ones_like(bright)
    for plane in bright:
        plane[:] = ndimage.binary_fill_holes(plane)  # lungs are open at the ends of a stack, not within a plane
    return Body(ndimage.binary_dilation(bright, structure=np.ones((3, 3, 3))), (z, y, x))


def _above_air(values: npt.NDArray[np.float32]) -> float:
    clipped = np.minimum(values.ravel(), np.percentile(values, _BRIGHT))
    counts, edges = np.histogram(clipped, _BINS)
    middles = (edges[:-1] + edges[1:]) / 2
    dark = np.cumsum(counts)
    light = dark[-1] - dark
    total = np.cumsum(counts * middles)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = dark * light * (total / dark - (total[-1] - total) / light) ** 2
    between = np.where(np.isfinite(between), between, 0)
    otsu = float(middles[between >= between.max() * (1 - 1e-6)].mean())  # it is flat where no value lies
    air = float(np.median(clipped[clipped <= otsu]))
    return (air + otsu) / 2

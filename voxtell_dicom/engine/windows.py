"""Where the windows of a volume lie and how much each of their voxels counts: nnU-Net's rules.

Isensee et al., nnU-Net, Nature Methods 18 (2021): windows overlap by half, and count less towards their borders.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

STEP = 0.5  # of the patch size
_SIGMA = 1 / 8  # of the patch size
_PEAK = 10.0

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Windows:
    """The windows over a volume of `shape`, padded by `before` and `after` voxels of 0 where it is smaller than one."""

    shape: Shape
    patch: Shape
    before: Shape
    after: Shape
    starts: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]  # per axis, on the padded grid

    @property
    def padded(self) -> Shape:
        """Shape of the padded volume."""
        z, y, x = (s + b + a for s, b, a in zip(self.shape, self.before, self.after, strict=True))
        return z, y, x

    def __len__(self) -> int:
        return math.prod(len(axis) for axis in self.starts)

    @property
    def all_starts(self) -> list[tuple[int, ...]]:
        """Where each window starts (z, y, x), on the padded grid, in the order to visit them: z outermost."""
        return list(itertools.product(*self.starts))

    def in_volume(self, start: Sequence[int]) -> tuple[int, ...]:
        """A window's start on the grid of the volume; negative where it begins in the padding."""
        return tuple(s - b for s, b in zip(start, self.before, strict=True))


def windows_over(shape: Sequence[int], patch: Sequence[int], step: float = STEP) -> Windows:
    """shape, patch: (z, y, x). Padding is centred, the odd voxel behind. Windows are spread evenly over each axis."""
    missing = [max(p - s, 0) for s, p in zip(shape, patch, strict=True)]
    before = tuple(m // 2 for m in missing)
    after = tuple(m - m // 2 for m in missing)
    starts = tuple(_starts(s + m, p, step) for s, m, p in zip(shape, missing, patch, strict=True))
    return Windows(_shape(shape), _shape(patch), _shape(before), _shape(after), starts)  # type: ignore[arg-type]


def _shape(values: Sequence[int]) -> Shape:
    z, y, x = (int(v) for v in values)
    return z, y, x


def _starts(size: int, patch: int, step: float) -> tuple[int, ...]:
    count = math.ceil((size - patch) / (patch * step)) + 1
    if count == 1:
        return (0,)
    distance = (size - patch) / (count - 1)
    return tuple(int(np.round(distance * i)) for i in range(count))


def importance(patch: Sequence[int]) -> npt.NDArray[np.float16]:
    """The Gaussian weight of each voxel of a window, (z, y, x), peak 10, nowhere 0."""
    impulse = np.zeros(tuple(patch))
    impulse[tuple(n // 2 for n in patch)] = 1
    bell = gaussian_filter(impulse, [n * _SIGMA for n in patch], 0, mode="constant", cval=0)
    weights: npt.NDArray[np.float16] = (bell / (bell.max() / _PEAK)).astype(np.float16)
    weights[weights == 0] = weights[weights != 0].min()
    return weights

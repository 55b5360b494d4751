"""The peak value: the largest mean in a sphere of 1 mL whose centre is a voxel of the region.

As DCM 126031 (Peak Value Within ROI, PS3.16 Annex D) and PERCIST mean it; IBSI calls it the global intensity peak
(0F91). A voxel counts where its centre lies within the sphere; the sphere may reach beyond the region, not beyond the
image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from voxtell_dicom.model import Mask

RADIUS_MM = (3000 / (4 * math.pi)) ** (1 / 3)  # 6.2035 mm: a sphere of 1 mL
Doubles = npt.NDArray[np.float64]


def peak_value(
    mask: Mask, frame_of: Callable[[int], npt.NDArray[np.floating]], along_mm: Doubles, spacing_mm: Sequence[float]
) -> float:
    """The peak of one mask that is not empty.

    frame_of: the values (row, column) of a frame. along_mm: where each frame lies along the normal. spacing_mm: between
    rows, between columns.
    """
    (first, last), (top, bottom), (left, right) = mask.box
    rows, columns = frame_of(first).shape
    reach_down, reach_across = (int(RADIUS_MM // step) for step in spacing_mm)
    down = slice(max(0, top - reach_down), min(rows, bottom + reach_down))
    across = slice(max(0, left - reach_across), min(columns, right + reach_across))
    near = np.flatnonzero(
        (along_mm >= along_mm[first:last].min() - RADIUS_MM) & (along_mm <= along_mm[first:last].max() + RADIUS_MM)
    )
    shape, corner = (bottom - top, right - left), (top - down.start, left - across.start)
    sums, counts = np.zeros((last - first, *shape)), np.zeros((last - first, *shape))
    for index in near.tolist():
        summed = _summed(np.asarray(frame_of(index)[down, across], np.float64))
        counted = _summed(np.ones((down.stop - down.start, across.stop - across.start)))
        for centre in range(first, last):
            rest = RADIUS_MM**2 - float(along_mm[index] - along_mm[centre]) ** 2
            if rest >= 0:
                for offset, half in _disk(rest, spacing_mm):
                    sums[centre - first] += _windows(summed, shape, corner, offset, half)
                    counts[centre - first] += _windows(counted, shape, corner, offset, half)
    crop = mask.crop()
    return float((sums[crop] / counts[crop]).max())


def _disk(squared_mm: float, spacing_mm: Sequence[float]) -> Iterator[tuple[int, int]]:
    """Of a disk round a voxel: (rows away, how many columns to either side)."""
    most = math.floor(math.sqrt(squared_mm) / spacing_mm[0] + 1e-9)
    for offset in range(-most, most + 1):
        rest = max(0.0, squared_mm - (offset * spacing_mm[0]) ** 2)
        yield offset, math.floor(math.sqrt(rest) / spacing_mm[1] + 1e-9)


def _summed(values: Doubles) -> Doubles:
    """Running sums along rows, with a column of zeros before the first."""
    return np.pad(np.cumsum(values, axis=1), ((0, 0), (1, 0)))


def _windows(summed: Doubles, shape: tuple[int, int], corner: tuple[int, int], offset: int, half: int) -> Doubles:
    """Of each voxel of a box at `corner`: the sum of `half` voxels to either side, `offset` rows away; 0 outside."""
    rows, columns = shape
    found = np.zeros(shape)
    start = corner[0] + offset
    low, high = max(0, -start), min(rows, summed.shape[0] - start)
    if low >= high:
        return found
    lines = summed[start + low : start + high]
    place = np.arange(corner[1], corner[1] + columns)
    last = summed.shape[1] - 1
    found[low:high] = lines[:, np.minimum(place + half + 1, last)] - lines[:, np.maximum(place - half, 0)]
    return found

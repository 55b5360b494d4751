"""Measurements of a mask on the source voxels, with their spacing: size, extent, diameters, values inside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import ConvexHull, QhullError

from voxtell_dicom.encode.values import Floats, Quantity, frame_values
from voxtell_dicom.model import BoolArray, Mask, Volume

PEAK_RADIUS_MM = 6.2  # a sphere of 1 mL
Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Intensity:
    """Statistics of the values inside a mask, in the unit of `quantity`. `peak`: mean of 1 mL at the hottest voxel."""

    quantity: Quantity
    mean: float
    sd: float
    minimum: float
    maximum: float
    median: float
    p10: float
    p90: float
    peak: float | None = None


@dataclass(frozen=True)
class Measured:
    """`long_axis_mm` is the longest diameter within one source frame, `short_axis_mm` the width across it there."""

    voxels: int
    frames: int
    volume_ml: float
    extent_mm: float  # along the stack, from the first to the last frame with voxels, both counted whole
    long_axis_mm: float
    short_axis_mm: float
    intensity: Intensity | None


def measure(masks: Sequence[Mask], volume: Volume, quantity: Quantity | None) -> list[Measured]:
    """Measure masks on the source grid (none empty). Every source frame is decoded once, for all of them."""
    values = list(_values_inside(masks, volume, quantity)) if quantity else [None] * len(masks)
    return [_one(mask, volume, inside) for mask, inside in zip(masks, values, strict=True)]


def _one(mask: Mask, volume: Volume, intensity: Intensity | None) -> Measured:
    crop = mask.crop()
    frames = int(np.count_nonzero(crop.any(axis=(1, 2))))
    long_axis, short_axis = diameters(crop, volume.grid.spacing_mm[1:])
    return Measured(
        voxels=mask.voxels,
        frames=frames,
        volume_ml=volume.millilitres(mask),
        extent_mm=sum(volume.frame_mm[slice(*mask.box[0])]),
        long_axis_mm=long_axis,
        short_axis_mm=short_axis,
        intensity=intensity,
    )


def diameters(crop: BoolArray, spacing_mm: Sequence[float]) -> tuple[float, float]:
    """Longest diameter within one frame, and the extent across it in that frame: mm, between contours.

    crop: (frame, row, column); spacing_mm: (between rows, between columns). The contour runs half-way between the
    centres of mask and background voxels, as viewers draw and measure it.
    """
    best = (0.0, 0.0)
    rows_mm, columns_mm = spacing_mm
    for frame in crop:
        rows = np.flatnonzero(frame.any(axis=1))
        if rows.size == 0:
            continue
        columns = np.flatnonzero(frame.any(axis=0))
        reach = np.hypot((np.ptp(rows) + 1) * rows_mm, (np.ptp(columns) + 1) * columns_mm)
        if reach <= best[0]:
            continue
        hull = _hull(frame, rows, rows_mm, columns_mm)
        gaps = hull[:, None] - hull[None]
        squared = (gaps**2).sum(axis=2)
        one, other = np.unravel_index(int(np.argmax(squared)), squared.shape)
        longest = float(np.sqrt(squared[one, other]))
        if longest > best[0]:
            across = np.array([-gaps[one, other][1], gaps[one, other][0]]) / longest
            best = (longest, float(np.ptp(hull @ across)))
    return best


def _hull(frame: BoolArray, rows: npt.NDArray[np.intp], rows_mm: float, columns_mm: float) -> Points:
    first = frame[rows].argmax(axis=1)
    last = frame.shape[1] - 1 - frame[rows][:, ::-1].argmax(axis=1)
    ends = np.concatenate([np.stack([rows, first], 1), np.stack([rows, last], 1)]).astype(float)
    around = np.array([[0.5, 0], [-0.5, 0], [0, 0.5], [0, -0.5]])
    points: Points = (ends[:, None] + around).reshape(-1, 2) * [rows_mm, columns_mm]
    try:
        corners: Points = points[ConvexHull(points).vertices]
    except QhullError:
        return points
    return corners


def _values_inside(masks: Sequence[Mask], volume: Volume, quantity: Quantity) -> Iterator[Intensity]:
    crops = [mask.crop() for mask in masks]
    parts: list[list[Floats]] = [[] for _ in masks]
    wanted = {frame for mask in masks for frame in range(*mask.box[0])}
    peaks = quantity.name.value == "126401"
    stack: dict[int, Floats] = {}
    if peaks:
        wanted = set(range(len(volume.frames)))  # the sphere may reach beyond the mask
    for index, values in frame_values(volume, wanted):
        scaled = values * np.float32(quantity.factor)
        if peaks:
            stack[index] = scaled
        for mask, crop, part in zip(masks, crops, parts, strict=True):
            first, stop = mask.box[0]
            if first <= index < stop:
                part.append(scaled[mask.slices[1:]][crop[index - first]])
    for mask, crop, part in zip(masks, crops, parts, strict=True):
        yield _statistics(np.concatenate(part).astype(np.float64), quantity, _peak(mask, crop, stack, volume))


def _statistics(values: npt.NDArray[np.float64], quantity: Quantity, peak: float | None) -> Intensity:
    low, p10, median, p90, high = (float(value) for value in np.percentile(values, [0, 10, 50, 90, 100]))
    sd = float(values.std(ddof=1)) if values.size > 1 else 0.0
    return Intensity(quantity, float(values.mean()), sd, low, high, median, p10, p90, peak)


def _peak(mask: Mask, crop: BoolArray, stack: dict[int, Floats], volume: Volume) -> float | None:
    """Mean value in a sphere of 1 mL around the hottest voxel of the mask; voxels count whose centre is inside."""
    if not stack:
        return None
    values = np.stack([stack[index] for index in sorted(stack)])
    inside = np.where(crop, values[mask.slices], -np.inf)
    hottest = np.unravel_index(int(np.argmax(inside)), inside.shape)
    centre = [int(at) + start for at, (start, _) in zip(hottest, mask.box, strict=True)]
    near, distances = [], []
    for axis, at in enumerate(_coordinates_mm(volume)):
        away = at - at[centre[axis]]
        (inside,) = np.nonzero(np.abs(away) <= PEAK_RADIUS_MM)
        near.append(slice(inside[0], inside[-1] + 1))
        distances.append(away[near[-1]])
    z, y, x = (distance**2 for distance in distances)
    ball = z[:, None, None] + y[None, :, None] + x[None, None, :] <= PEAK_RADIUS_MM**2
    return float(values[tuple(near)][ball].mean())


def _coordinates_mm(volume: Volume) -> list[npt.NDArray[Any]]:
    """Of the frames along the normal, of rows and columns within a frame."""
    between, rows_mm, columns_mm = volume.grid.spacing_mm
    count, rows, columns = volume.grid.shape
    along = between * np.arange(count)
    if volume.parts:
        along = np.array([frame.position_mm for frame in volume.frames], float) @ np.array(volume.grid.normal, float)
    return [along, rows_mm * np.arange(rows), columns_mm * np.arange(columns)]

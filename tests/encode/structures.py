"""Masks back out of an RT Structure Set, as a planning system makes them: by pydicom, matplotlib and the source files.

Nothing of ours is used: planes come from the images that the contours name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from matplotlib.path import Path as Polygon
from scipy.ndimage import binary_erosion, distance_transform_edt

Bools = npt.NDArray[np.bool_]


def rasterised(path: Path, frames: Sequence[tuple[Path, int]], shape: tuple[int, int, int]) -> dict[str, Bools]:
    """ROI name → the voxels of (frame, row, column) whose centres lie within its contours. frames: file, number."""
    files = {file: pydicom.dcmread(file, stop_before_pixels=True) for file, _ in frames}
    images = [_plane(files[file], number) for file, number in frames]
    place = {(files[file].SOPInstanceUID, number): index for index, (file, number) in enumerate(frames)}
    rows, columns = np.indices(shape[1:])
    centres = np.stack([columns.ravel(), rows.ravel()], axis=1)
    ds = pydicom.dcmread(path)
    masks = {}
    for roi, item in zip(ds.StructureSetROISequence, ds.ROIContourSequence, strict=True):
        assert roi.ROINumber == item.ReferencedROINumber
        mask = np.zeros(shape, bool)
        for contour in item.ContourSequence:
            (image,) = contour.ContourImageSequence
            index = place[image.ReferencedSOPInstanceUID, int(image.get("ReferencedFrameNumber", 1))]
            corners = to_pixels(np.array(contour.ContourData, float).reshape(-1, 3), images[index])
            mask[index] ^= Polygon(corners).contains_points(centres).reshape(shape[1:])
        masks[str(roi.ROIName)] = mask
    return masks


def _plane(ds: pydicom.Dataset, number: int) -> pydicom.Dataset:
    """Position, orientation and spacing of a frame (from 1), at the top level or in its functional groups."""
    if "PerFrameFunctionalGroupsSequence" not in ds:
        return ds
    plane = pydicom.Dataset()
    for groups in (*ds.SharedFunctionalGroupsSequence, ds.PerFrameFunctionalGroupsSequence[number - 1]):
        for name in ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence"):
            for item in groups.get(name, []):
                plane.update(item)
    return plane


def to_pixels(points_mm: npt.NDArray[np.float64], image: pydicom.Dataset) -> npt.NDArray[np.float64]:
    """Patient coordinates (n, 3) as (column, row) of an image in whose plane they lie (PS3.3 C.7.6.2.1.1)."""
    offset = points_mm - np.array(image.ImagePositionPatient, float)
    cosines = np.array(image.ImageOrientationPatient, float).reshape(2, 3)
    assert np.abs(offset @ np.cross(*cosines)).max() < 0.01, "a contour lies off the plane of its image"
    between_rows, between_columns = (float(value) for value in image.PixelSpacing)
    pixels: npt.NDArray[np.float64] = offset @ cosines.T / [between_columns, between_rows]
    return pixels


def surface_distance_95(one: Bools, other: Bools, spacing_mm: Sequence[float]) -> float:
    """95th percentile of the distances (mm) from each surface voxel of either mask to the other's surface."""
    surfaces = [mask & ~binary_erosion(mask) for mask in (one, other)]
    away = [distance_transform_edt(~surface, sampling=spacing_mm) for surface in surfaces]
    return float(np.percentile(np.concatenate([away[1][surfaces[0]], away[0][surfaces[1]]]), 95))

"""Masks back out of contours, of an RT Structure Set or burned in: by pydicom, matplotlib and the source files.

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


def outlined(
    paths: Sequence[Path],
    frames: Sequence[tuple[Path, int]],
    shape: tuple[int, int, int],
    colors: Sequence[tuple[int, int, int]],
) -> list[Bools]:
    """Per colour the voxels of (frame, row, column) in which captures have pixels of it.

    A pixel lies where the capture's own position, orientation and spacing put it, in the plane of the source image that
    the capture names; below the last row stands the legend.
    """
    files = {file: pydicom.dcmread(file, stop_before_pixels=True) for file, _ in frames}
    images = [_plane(files[file], number) for file, number in frames]
    place = {(files[file].SOPInstanceUID, number): index for index, (file, number) in enumerate(frames)}
    masks = [np.zeros(shape, bool) for _ in colors]
    for path in paths:
        ds = pydicom.dcmread(path)
        (source,) = ds.SourceImageSequence
        index = place[source.ReferencedSOPInstanceUID, int(source.get("ReferencedFrameNumber", 1))]
        cosines = np.array(ds.ImageOrientationPatient, float).reshape(2, 3)
        between = np.array(ds.PixelSpacing, float)
        for mask, color in zip(masks, colors, strict=True):
            where = np.argwhere((ds.pixel_array == color).all(axis=2)) * between
            points = np.array(ds.ImagePositionPatient, float) + where[:, 1:] * cosines[0] + where[:, :1] * cosines[1]
            if len(points):
                columns, rows = np.rint(to_pixels(points, images[index])).astype(int).T
                within = (rows < shape[1]) & (columns < shape[2])
                mask[index][rows[within], columns[within]] = True
    return masks


def outlines(mask: Bools) -> Bools:
    """The voxels of a mask with a neighbour, of four in its frame, that is not of it."""
    cross = np.array([[[0, 1, 0], [1, 1, 1], [0, 1, 0]]], bool)
    inner: Bools = binary_erosion(mask, cross)
    return mask & ~inner


def assert_outlined(
    paths: Sequence[Path],
    frames: Sequence[tuple[Path, int]],
    truth: Sequence[Bools],
    colors: Sequence[tuple[int, int, int]],
) -> None:
    """Each outline is drawn whole, but where others lie upon it, and nothing else is drawn in its colour."""
    edges = [outlines(mask) for mask in truth]
    for number, drawn in enumerate(outlined(paths, frames, truth[0].shape, colors)):
        none = np.zeros_like(edges[number])
        others = np.logical_or.reduce([none, *(edge for other, edge in enumerate(edges) if other != number)])
        assert not (drawn & ~edges[number]).any()
        assert not (edges[number] & ~others & ~drawn).any()
        assert drawn.any()


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

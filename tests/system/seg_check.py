"""Whether a SEG says of each voxel of its source what the threshold says. By pydicom and numpy alone."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset

Key = tuple[str, int]  # SOP Instance UID, frame number


def source_values(files: Sequence[Path]) -> dict[Key, npt.NDArray[np.float64]]:
    """The rescaled frames of classic and enhanced instances (PS3.3 C.11.1.1.2, C.7.6.16.2.9)."""
    values = {}
    for path in files:
        ds = pydicom.dcmread(path)
        frames = ds.pixel_array.reshape(-1, ds.Rows, ds.Columns).astype(np.float64)
        for index, frame in enumerate(frames):
            rescale = _rescale(ds, index)
            slope, intercept = float(rescale.get("RescaleSlope", 1)), float(rescale.get("RescaleIntercept", 0))
            values[str(ds.SOPInstanceUID), index + 1] = frame * slope + intercept
    return values


def _rescale(ds: Dataset, index: int) -> Dataset:
    """Return what holds the rescale of a frame: its own or the shared functional group, else the instance."""
    groups = [ds.PerFrameFunctionalGroupsSequence[index]] if "PerFrameFunctionalGroupsSequence" in ds else []
    groups += list(ds.get("SharedFunctionalGroupsSequence", []))
    for group in groups:
        if "PixelValueTransformationSequence" in group:
            (rescale,) = group.PixelValueTransformationSequence
            assert isinstance(rescale, Dataset)
            return rescale
    return ds


def seg_frames(seg: Dataset, segment: int = 1) -> dict[Key, npt.NDArray[np.bool_]]:
    """The frames of one segment, by the one source frame that each references."""
    pixels = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    frames: dict[Key, npt.NDArray[np.bool_]] = {}
    shared = seg.SharedFunctionalGroupsSequence[0]
    for index, item in enumerate(seg.PerFrameFunctionalGroupsSequence):
        identification = item if "SegmentIdentificationSequence" in item else shared
        if identification.SegmentIdentificationSequence[0].ReferencedSegmentNumber != segment:
            continue
        (source,) = item.DerivationImageSequence[0].SourceImageSequence
        number = source.get("ReferencedFrameNumber", 1)
        key = (str(source.ReferencedSOPInstanceUID), int(number))
        assert key not in frames, f"two frames for {key}"
        frames[key] = pixels[index].astype(bool)
    return frames


def assert_is_threshold(
    data: bytes, files: Sequence[Path], test: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.bool_]]
) -> Dataset:
    """Every source frame equals its SEG frame (an omitted one is empty), at its own position. Returns the SEG."""
    seg = pydicom.dcmread(BytesIO(data))
    got = seg_frames(seg)
    values = source_values(files)
    assert got.keys() <= values.keys(), "the SEG references frames that are not of its source"
    for key, frame in values.items():
        expected = test(frame)
        found = got.get(key, np.zeros_like(expected))
        assert np.array_equal(found, expected), f"{key}: {np.count_nonzero(found != expected)} voxels differ"
    assert any(frame.any() for frame in got.values()), "nothing was segmented: the test would prove nothing"
    positions = {
        str(ds.SOPInstanceUID): ds.ImagePositionPatient
        for ds in (pydicom.dcmread(path, stop_before_pixels=True) for path in files)
    }
    for item in seg.PerFrameFunctionalGroupsSequence:
        uid = str(item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID)
        position = item.PlanePositionSequence[0].ImagePositionPatient
        assert np.allclose(position, positions[uid], rtol=0, atol=1e-4)
    return seg


def dciodvfy_errors(path: Path) -> list[str]:
    """The errors that dciodvfy (dicom3tools) finds."""
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False, timeout=60)
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]


def patient_voxels(frames: Mapping[Key, npt.NDArray[np.bool_]], files: Sequence[Path]) -> npt.NDArray[np.float64]:
    """The centres of all voxels that are set, in patient space (LPS mm), rounded to 0.01 mm and sorted."""
    points = []
    for ds in (pydicom.dcmread(path, stop_before_pixels=True) for path in files):
        frame = frames.get((str(ds.SOPInstanceUID), 1))
        if frame is None:
            continue
        rows, columns = np.nonzero(frame)
        along = np.array(ds.ImageOrientationPatient[:3], float) * float(ds.PixelSpacing[1])
        down = np.array(ds.ImageOrientationPatient[3:], float) * float(ds.PixelSpacing[0])
        origin = np.array(ds.ImagePositionPatient, float)
        points.append(origin + columns[:, None] * along + rows[:, None] * down)
    return sort_points(np.concatenate(points))


def sort_points(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Points (n, 3) rounded to 0.01 mm, without -0, in lexical order."""
    rounded = np.round(points, 2) + 0.0
    return rounded[np.lexsort(rounded.T)]

"""The label map, by highdicom, pydicom and dcmqi: the same voxels where nothing overlaps, the smaller where it does."""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest

from tests.encode import made
from voxtell_dicom.encode import OutputContext, encode_seg
from voxtell_dicom.encode.common.profiles import Form
from voxtell_dicom.encode.seg.planes import POLICY
from voxtell_dicom.encode.seg.segmentation import encode_segmentation
from voxtell_dicom.errors import EncodingError
from voxtell_dicom.model import Found, Plan, Result, Volume

LABELMAP = Form("labelmap", "rle")


def encode_labelmap(plan: Plan, volume: Volume, found: list[Found], directory: Path) -> Result:
    (result,) = encode_segmentation(OutputContext(plan, volume, found, directory=directory), LABELMAP)
    return result


def labels(path: Path, volume: object) -> np.ndarray:
    """The label map on the volume's frames, by pydicom."""
    ds = pydicom.dcmread(path)
    result = np.zeros(volume.grid.shape, np.uint8)  # type: ignore[attr-defined]
    place = {frame.sop_instance_uid: index for index, frame in enumerate(volume.frames)}  # type: ignore[attr-defined]
    pixels = ds.pixel_array.reshape(-1, ds.Rows, ds.Columns)
    for item, frame in zip(ds.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        index = place[item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID]
        position = [float(value) for value in item.PlanePositionSequence[0].ImagePositionPatient]
        assert np.allclose(position, volume.frames[index].position_mm)  # type: ignore[attr-defined]
        result[index] = frame
    return result


def test_every_reader_sees_the_same_voxels(tmp_path: Path) -> None:
    volume = made.volume(tmp_path / "s", shape=(8, 21, 23), row=(0, 1, 0), column=(0, 0, -1), PatientName="M^A")
    plan = made.plan(["liver", "nothing", "left kidney tumour"])
    arrays = [np.zeros(volume.grid.shape, bool) for _ in range(3)]
    arrays[0][1:4, 2:9, 3:20], arrays[2][3:7, 10:15, 1:8] = True, True
    found = made.found(plan, arrays)
    result = encode_labelmap(plan, volume, found, directory=tmp_path)
    assert result is not None
    assert (result.labels, result.empty) == (("Liver", "Left kidney tumour"), ("Nothing",))
    expected = arrays[0] * 1 + arrays[2] * 2
    assert np.array_equal(labels(result.path, volume), expected)
    seg = highdicom.seg.segread(result.path)
    uids = [frame.sop_instance_uid for frame in volume.frames]
    read = seg.get_pixels_by_source_instance(uids, combine_segments=True, assert_missing_frames_are_empty=True)
    assert np.array_equal(read, expected)
    points = made.dcmqi_points(result.path, tmp_path / "dcmqi")
    assert points == [made.true_points(arrays[0], volume), made.true_points(arrays[2], volume)]
    ds = pydicom.dcmread(result.path)
    assert ds.SegmentsOverlap == "NO"
    assert [item.SegmentNumber for item in ds.SegmentSequence] == [0, 1, 2]
    assert ds.ContentDescription != POLICY
    assert encode_labelmap(plan, volume, found, directory=tmp_path) == result


def test_the_smaller_segment_stays_visible_within_the_larger(tmp_path: Path) -> None:
    volume = made.volume(tmp_path / "s")
    plan = made.plan(["liver lesion", "liver"])
    arrays = [np.zeros(volume.grid.shape, bool) for _ in range(2)]
    arrays[0][2:4, 5:9, 5:9], arrays[1][1:5, 3:12, 3:15] = True, True
    result = encode_labelmap(plan, volume, made.found(plan, arrays), directory=tmp_path)
    assert result is not None
    assert np.array_equal(labels(result.path, volume), np.where(arrays[0], 1, arrays[1] * 2))
    assert pydicom.dcmread(result.path).ContentDescription == POLICY


def test_it_is_smaller(tmp_path: Path) -> None:
    volume = made.volume(tmp_path / "s", shape=(20, 256, 256))
    plan = made.plan([f"structure {n}" for n in range(8)])
    arrays = [np.zeros(volume.grid.shape, bool) for _ in range(8)]
    for number, array in enumerate(arrays):
        array[2:18, 20 + 20 * number : 40 + 20 * number, 30:200] = True
    found = made.found(plan, arrays)
    binary = encode_seg(OutputContext(plan, volume, found, directory=tmp_path))
    labelmap = encode_labelmap(plan, volume, found, directory=tmp_path)
    assert binary is not None
    assert labelmap is not None
    assert labelmap.path.stat().st_size < binary.path.stat().st_size / 5
    assert labelmap.series_uid != binary.series_uid


def test_more_segments_than_eight_bits_hold(tmp_path: Path) -> None:
    volume = made.volume(tmp_path / "s", shape=(1, 16, 17))
    plan = made.plan([f"structure {n}" for n in range(256)])
    arrays = [np.zeros(volume.grid.shape, bool) for _ in range(256)]
    for number, array in enumerate(arrays):
        array.flat[number] = True
    with pytest.raises(EncodingError, match="256 segments"):
        encode_labelmap(plan, volume, made.found(plan, arrays), directory=tmp_path)

"""Contours that contain exactly the mask's voxel centres, and a structure set that other programs accept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.path import Path as Polygon

from tests.encode import made
from voxtell_dicom.encode.contours import keyholed, rings
from voxtell_dicom.encode.rtstruct import encode_rtstruct
from voxtell_dicom.model import Prompt


def rasterised(contours: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Even-odd fill by voxel centres. A keyhole's channel counts twice, so it does not matter."""
    rows, columns = np.indices(shape)
    centres = np.stack([rows.ravel(), columns.ravel()], 1).astype(float)
    inside = np.zeros(len(centres), bool)
    for ring in contours:
        x, y = ring[:, 0], ring[:, 1]
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            crosses = (y0 > centres[:, 1]) != (y1 > centres[:, 1])
            if y0 != y1:
                inside ^= crosses & (centres[:, 0] < (x1 - x0) * (centres[:, 1] - y0) / (y1 - y0) + x0)
        assert len(x) == len(y) >= 3
    return inside.reshape(shape)


@settings(max_examples=150, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_contours_contain_exactly_the_mask(frame: np.ndarray) -> None:
    assert np.array_equal(rasterised(keyholed(frame), frame.shape), frame)


def test_holes_within_holes() -> None:
    frame = np.zeros((30, 30), bool)
    frame[2:28, 2:28] = True
    frame[5:12, 5:12] = frame[15:25, 5:25] = False
    frame[17:23, 10:20] = True
    frame[19:21, 12:15] = False
    assert sorted(len(holes) for _, holes in rings(frame)) == [1, 2]
    contours = keyholed(frame)
    assert len(contours) == 2
    assert np.array_equal(rasterised(contours, frame.shape), frame)
    # another program's idea of a point in a polygon
    lattice = np.stack(np.indices(frame.shape), -1).reshape(-1, 2)
    inside = sum(Polygon(ring).contains_points(lattice).astype(int) for ring in contours)
    assert np.array_equal(np.reshape(inside, frame.shape) > 0, frame)


C, S = np.cos(np.deg2rad(25)), np.sin(np.deg2rad(25))


@pytest.mark.parametrize(("row", "column"), [((1, 0, 0), (0, 1, 0)), ((C, S, 0), (0, 0, -1))])
def test_the_structure_set_gives_back_the_masks(tmp_path: Path, row: tuple, column: tuple) -> None:  # type: ignore[type-arg]
    volume = made.volume(tmp_path / "s", row=row, column=column, shear_mm=(0.3, 0, 0))
    plan = made.plan([], prompts=[Prompt("liver", "Liver"), Prompt("nothing", "Nothing"), Prompt("a " * 90, "b" * 64)])
    masks = made.masks(volume.grid.shape, 3)
    masks[1][:] = False
    result = encode_rtstruct(plan, volume, made.found(plan, masks), directory=tmp_path)
    assert result is not None
    assert (result.labels, result.empty) == (("Liver", "b" * 64), ("Nothing",))
    assert made.dciodvfy(result.path) == []
    ds = pydicom.dcmread(result.path)
    assert ds.ApprovalStatus == "UNAPPROVED"
    assert len(ds.StructureSetLabel) <= 16
    assert len({tuple(item.ROIDisplayColor) for item in ds.ROIContourSequence}) == 2
    place = {frame.sop_instance_uid: index for index, frame in enumerate(volume.frames)}
    for roi, mask in zip(ds.ROIContourSequence, (masks[0], masks[2]), strict=True):
        read = np.zeros(mask.shape, bool)
        for contour in roi.ContourSequence:
            assert contour.NumberOfContourPoints == len(contour.ContourData) // 3 >= 3
            assert all(len(str(value)) <= 16 for value in contour.ContourData)
            index = place[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
            points = np.array(contour.ContourData, float).reshape(-1, 3) - volume.frames[index].position_mm
            assert np.allclose(points @ np.cross(row, column), 0, atol=1e-3)
            pixels = np.stack(
                [points @ column / volume.grid.spacing_mm[1], points @ row / volume.grid.spacing_mm[2]], 1
            )
            read[index] ^= rasterised([pixels], mask.shape[1:])  # type: ignore[arg-type]
        assert np.array_equal(read, mask)
    data = result.path.read_bytes()
    assert encode_rtstruct(plan, volume, made.found(plan, masks), directory=tmp_path) == result
    assert result.path.read_bytes() == data


def test_a_contour_longer_than_a_short_element_survives(tmp_path: Path) -> None:
    volume = made.volume(tmp_path / "s", shape=(1, 240, 240))
    mask = np.zeros(volume.grid.shape, bool)
    mask[0, ::4] = mask[0, :, 0] = True  # a comb, with teeth
    mask[0, 1::4, ::2] = True
    plan = made.plan(["comb"])
    result = encode_rtstruct(plan, volume, made.found(plan, [mask]), directory=tmp_path)
    assert result is not None
    (contour,) = pydicom.dcmread(result.path).ROIContourSequence[0].ContourSequence
    assert len("\\".join(str(value) for value in contour.ContourData)) > 65534


def test_nothing_found_makes_no_structure_set(tmp_path: Path) -> None:
    volume = made.volume(tmp_path / "s")
    plan = made.plan(["liver"])
    found = made.found(plan, [np.zeros(volume.grid.shape, bool)])
    assert encode_rtstruct(plan, volume, found, directory=tmp_path) is None


def test_a_sieve_takes_no_time() -> None:
    frame = np.ones((81, 81), bool)
    frame[1::2, 1::2] = False  # 1,600 holes
    (ring,) = keyholed(frame)
    assert len(ring) > 6_400

"""Volume → mask → frames returns the very voxels that were set: any cosines, order, spacing, flips, tilt."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from tests.series import slices
from voxtell_dicom.errors import GridMismatch
from voxtell_dicom.model import Mask, Volume, ras_axes
from voxtell_dicom.series.headers import assemble
from voxtell_dicom.series.volume import load_volume, to_frames, to_ras


def one_volume(folder: Path, stored: np.ndarray, **geometry: object) -> Volume:
    assembly = assemble(slices.save(slices.stack(stored, **geometry), folder))  # type: ignore[arg-type]
    assert not assembly.set_aside
    (volume,) = assembly.volumes
    return volume


@settings(max_examples=60, deadline=None)
@given(
    turn=st.tuples(*[st.floats(-180, 180)] * 3),
    mirrored=st.booleans(),
    spacing=st.tuples(st.floats(0.3, 10), st.floats(0.3, 3), st.floats(0.3, 3)),
    tilt=st.tuples(st.floats(-0.6, 0.6), st.floats(-0.6, 0.6)),
    tilted=st.booleans(),
    backwards=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_the_very_voxels(
    turn: tuple[float, float, float],
    mirrored: bool,
    spacing: tuple[float, float, float],
    tilt: tuple[float, float],
    tilted: bool,
    backwards: bool,
    seed: int,
) -> None:
    rotation = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()
    row, column = rotation[:, 0], rotation[:, 1] * (-1 if mirrored else 1)
    step = np.cross(row, column) * spacing[0] * (-1 if backwards else 1)
    if tilted:
        step = step + spacing[0] * (tilt[0] * row + tilt[1] * column)
    stored = slices.noise((4, 6, 5), seed % 1000)
    with tempfile.TemporaryDirectory() as folder:
        volume = one_volume(Path(folder), stored, orientation=(*row, *column), spacing=spacing, step=step)
        array = to_ras(volume)
    order = slice(None, None, -1 if backwards else 1)
    source = stored[order].astype(np.float32) - 1024  # frames are ordered along the normal
    threshold = 1500.5
    found = to_frames(Mask.from_array(array > threshold), volume)
    np.testing.assert_array_equal(found.to_array(volume.grid.shape), source > threshold)
    assert found.voxels == np.count_nonzero(source > threshold)

    # every voxel of the RAS grid lies where its source voxel lies, to half a pixel of a tilt, none without one
    origin, axes = ras_axes(volume)
    sample = np.zeros(volume.grid.shape, bool)
    where = np.random.default_rng(seed).integers(0, volume.grid.shape)
    sample[tuple(where)] = True
    ((z, y, x),) = np.argwhere(slices.from_frames(Mask.from_array(sample), volume).to_array(volume.shape_zyx))
    frame, r, c = where
    true = np.array(volume.frames[frame].position_mm) + r * spacing[1] * column + c * spacing[2] * row
    error = true - (origin + axes @ (z, y, x))
    allowed = 0.5 if volume.canvas != volume.grid.shape or tilted else 0.0
    assert abs(error @ row) <= allowed * spacing[2] + 1e-4
    assert abs(error @ column) <= allowed * spacing[1] + 1e-4
    assert abs(error @ np.cross(row, column)) <= 1e-4


def test_axes_of_the_array_run_right_anterior_superior(tmp_path: Path) -> None:
    volume = one_volume(tmp_path, slices.noise((4, 6, 5)), orientation=slices.CORONAL)
    _, axes = ras_axes(volume)
    assert axes[2, 0] > 0  # z: towards superior (+z in LPS)
    assert axes[1, 1] < 0  # y: towards anterior (−y)
    assert axes[0, 2] < 0  # x: towards the patient's right (−x)
    assert to_ras(volume).flags.c_contiguous


def test_tilt_moves_by_whole_pixels_and_loses_nothing(tmp_path: Path) -> None:
    stored = slices.noise((6, 8, 7))
    volume = one_volume(tmp_path, stored, step=(0, 1.3, 2.0))
    assert [frame.shift_px for frame in volume.frames] == [(0, 0), (1, 0), (3, 0), (4, 0), (5, 0), (6, 0)]
    array = to_ras(volume)
    assert array.shape == (6, 14, 7)
    assert array.min() == stored.min() - 1024.0
    assert any(warning.startswith("tilt:") for warning in volume.warnings)
    everything = Mask.from_array(np.ones(volume.shape_zyx, bool))
    assert to_frames(everything, volume).voxels == stored.size  # the canvas outside of the frames is dropped
    outside = np.zeros(volume.shape_zyx, bool)
    outside[0, 0, 0] = outside[-1, -1, 0] = True
    assert {to_frames(Mask.from_array(outside), volume).voxels} <= {0, 1, 2}


def test_empty_mask_and_wrong_grids(tmp_path: Path) -> None:
    volume = one_volume(tmp_path, slices.noise((4, 6, 5)))
    assert to_frames(Mask.from_array(np.zeros((4, 6, 5), bool)), volume).voxels == 0
    with pytest.raises(GridMismatch):
        to_frames(Mask.from_array(np.ones((4, 6, 6), bool)), volume)
    with pytest.raises(GridMismatch):
        to_frames(Mask(((0, 4), (0, 6), (0, 5)), b"\xff", 120), volume)


def test_key_depends_on_pixels_and_not_on_the_transfer_syntax(tmp_path: Path) -> None:
    from pydicom.uid import JPEG2000Lossless, RLELossless

    stored = slices.noise((4, 64, 64))
    keys = set()
    for syntax in (None, RLELossless, JPEG2000Lossless):
        datasets = slices.stack(stored)
        for ds in datasets:
            if syntax:
                ds.compress(syntax, generate_instance_uid=False)
        series = slices.save(datasets, tmp_path / str(syntax))
        array, volume = load_volume(assemble(series).volumes[0])
        np.testing.assert_array_equal(array, to_ras(volume))
        keys.add(volume.key)
    assert len(keys) == 1
    changed = slices.stack(stored)
    changed[2].PixelData = slices.noise((1, 64, 64), 9).tobytes()
    _, volume = load_volume(assemble(slices.save(changed, tmp_path / "changed")).volumes[0])
    assert volume.key not in keys


def test_pixels_read_in_place_are_pydicoms(tmp_path: Path) -> None:
    """Uncompressed pixels are read where the header pass found them; pydicom reads the same, unused bits included."""
    import pydicom
    from pydicom.pixels import pixel_array

    from voxtell_dicom.dicom.native import noted
    from voxtell_dicom.dicom.pixels import decode

    stored = slices.noise((2, 6, 5))
    datasets = slices.stack(stored) + slices.stack(stored.astype(np.int16) - 2048, origin=(0, 0, 50))
    datasets[1].PixelData = (stored[1] | 0xA000).tobytes()  # overlay bits of old
    for ds, bits in zip(datasets, (12, 12, 12, 13), strict=True):
        ds.BitsStored, ds.HighBit = bits, bits - 1
    for index, ds in enumerate(datasets):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{slices.UID}.7.{index}"
    series = slices.save(datasets, tmp_path)
    assemble(series)
    for instance in series.instances:
        assert noted(instance.path) is not None
        ((found, _),) = decode(instance.path, [1])
        np.testing.assert_array_equal(found, pixel_array(pydicom.dcmread(instance.path)))
    changed = series.instances[0].path
    ds = pydicom.dcmread(changed)
    ds.PatientComments = "longer now"
    ds.PixelData = stored[1].tobytes()
    ds.save_as(changed)
    ((found, _),) = decode(changed, [1])
    np.testing.assert_array_equal(found, pixel_array(pydicom.dcmread(changed)))

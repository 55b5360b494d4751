"""Measurements against analytic truth, and against the voxels counted by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from scipy.spatial.transform import Rotation

from tests.encode import made
from voxtell_dicom.encode.measure import diameters, measure
from voxtell_dicom.encode.values import quantity_of, suv_factor
from voxtell_dicom.model import Mask

HU = quantity_of("CT", Dataset())


def ellipsoid(shape: tuple[int, int, int], spacing: tuple[float, float, float], radii: tuple[float, float, float]):  # type: ignore[no-untyped-def]
    axes = [(np.arange(n) - (n - 1) / 2 + 0.13) * s / r for n, s, r in zip(shape, spacing, radii, strict=True)]
    z, y, x = (axis**2 for axis in axes)
    return z[:, None, None] + y[None, :, None] + x[None, None, :] <= 1


def test_an_ellipsoid_at_one_millimetre(tmp_path: Path) -> None:
    radii = (20.0, 15.0, 31.0)
    volume = made.volume(tmp_path, shape=(48, 40, 70), spacing_mm=(1.0, 1.0, 1.0))
    mask = ellipsoid(volume.grid.shape, volume.grid.spacing_mm, radii)
    (got,) = measure([Mask.from_array(mask)], volume, HU)
    assert got.volume_ml == pytest.approx(np.count_nonzero(mask) / 1000, rel=1e-12)
    assert got.volume_ml == pytest.approx(4 / 3 * np.pi * np.prod(radii) / 1000, rel=0.005)
    assert got.long_axis_mm == pytest.approx(62, abs=1)
    assert got.short_axis_mm == pytest.approx(30, abs=1)
    assert got.extent_mm == pytest.approx(40, abs=1)


def test_a_turned_ellipse_has_its_own_diameters() -> None:
    rotation = Rotation.from_euler("z", 33, degrees=True).as_matrix()[:2, :2]
    rows, columns = np.mgrid[-30:31, -60:61] * np.array([1.0, 0.5]).reshape(2, 1, 1)
    along = np.tensordot(rotation, np.stack([rows, columns]), axes=1)
    frame = (along[0] / 22) ** 2 + (along[1] / 9) ** 2 <= 1
    long_axis, short_axis = diameters(frame[None], (1.0, 0.5))
    assert long_axis == pytest.approx(44, abs=1)
    assert short_axis == pytest.approx(18, abs=1)


def test_one_voxel() -> None:
    long_axis, short_axis = diameters(np.ones((1, 1, 1), bool), (2.0, 2.0))
    assert long_axis == pytest.approx(2)
    assert short_axis > 0


def test_values_are_those_of_the_source_voxels(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(-1000, 2000, (6, 20, 24)).astype(np.int16)
    slopes = {"RescaleSlope": lambda index: 1 + index % 2, "RescaleIntercept": -3}
    volume = made.volume(tmp_path, values=values, **slopes)
    arrays = made.masks(volume.grid.shape, 3)
    found = measure([Mask.from_array(array) for array in arrays], volume, HU)
    true = values * (1 + np.arange(6) % 2)[:, None, None] - 3
    for array, got in zip(arrays, found, strict=True):
        inside = true[array].astype(float)
        assert got.intensity is not None
        assert got.intensity.mean == pytest.approx(inside.mean())
        assert got.intensity.sd == pytest.approx(inside.std(ddof=1))
        assert (got.intensity.minimum, got.intensity.maximum) == (inside.min(), inside.max())
        assert got.intensity.p90 == pytest.approx(np.percentile(inside, 90))
        assert got.intensity.peak is None


def pet(**more: object) -> Dataset:
    ds, drug = Dataset(), Dataset()
    drug.RadionuclideTotalDose, drug.RadionuclideHalfLife = 300e6, 6586.2
    drug.RadiopharmaceuticalStartTime = "100000"
    ds.RadiopharmaceuticalInformationSequence = [drug]
    ds.PatientWeight, ds.Units, ds.DecayCorrection, ds.CorrectedImage = 75, "BQML", "START", ["DECY", "ATTN"]
    ds.SeriesTime, ds.AcquisitionTime = "110000.0", "110010"
    for keyword, value in more.items():
        setattr(ds, keyword, value)
    return ds


def test_suv() -> None:
    assert suv_factor(pet()) == pytest.approx(75000 / (300e6 * 2 ** (-3600 / 6586.2)))
    assert suv_factor(pet(DecayCorrection="ADMIN")) == pytest.approx(75000 / 300e6)
    assert suv_factor(pet(Units="GML")) == 1
    for wrong in ({"Units": "CNTS"}, {"PatientWeight": None}, {"DecayCorrection": "NONE"}, {"SeriesTime": "093000"}):
        assert suv_factor(pet(**wrong)) is None


def test_suv_peak_is_the_mean_of_one_millilitre_at_the_hottest_voxel(tmp_path: Path) -> None:
    values = np.zeros((13, 15, 15), np.int16)
    values[6, 7, 7] = 1000
    values[0, 0, 0] = 5000  # hotter, outside of the mask
    volume = made.volume(tmp_path, shape=values.shape, spacing_mm=(2.0, 2.0, 2.0), values=values)
    mask = np.zeros(values.shape, bool)
    mask[5:8, 6:9, 6:9] = True
    (got,) = measure([Mask.from_array(mask)], volume, quantity_of("PT", pet(Units="GML")))
    grid = np.indices((7, 7, 7)) - 3
    ball = np.count_nonzero((grid**2).sum(axis=0) * 4 <= 6.2**2)
    assert got.intensity is not None
    assert got.intensity.maximum == 1000
    assert got.intensity.peak == pytest.approx(1000 / ball)
    assert ball * 8 == pytest.approx(1000, rel=0.05)

"""Measurements against analytic truth, and against the voxels counted by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from scipy.spatial.transform import Rotation

from tests.encode import made
from tests.series import multiframe_cases, strange_cases  # noqa: F401 - adds its cases
from tests.series.cases import CASES
from voxtell_dicom.dicom.headers import HeaderSource
from voxtell_dicom.encode.common.frame_values import FrameValues
from voxtell_dicom.encode.report.measure import diameters, measure
from voxtell_dicom.encode.report.peak import RADIUS_MM, peak_value
from voxtell_dicom.encode.report.values import quantity_of, suv_factor
from voxtell_dicom.model import Mask
from voxtell_dicom.series.headers import assemble
from voxtell_dicom.verify import readback

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


def test_the_short_axis_is_a_chord_across() -> None:
    """A parallelogram is as wide as its chord, not as its shadow; both are the same of what is even about the axis."""
    rows, columns = np.mgrid[0:121, 0:200].astype(float)
    along = columns - 30 - rows * 0.6  # sides that lean
    frame = (along >= 0) & (along <= 60) & (rows >= 10) & (rows <= 110)
    long_axis, short_axis = diameters(frame[None], (1.0, 1.0))
    assert long_axis == pytest.approx(np.hypot(100 + 1, 120 + 1), abs=2)
    axis = np.array([100.0, 120.0]) / np.hypot(100, 120)
    corners = np.array([[10, 36], [10, 96], [110, 96], [110, 156.0]])
    shadow = np.ptp(corners @ np.array([-axis[1], axis[0]]))
    assert short_axis < shadow - 5
    assert short_axis == pytest.approx(longest_chord(frame, axis), abs=2)


def longest_chord(frame: np.ndarray, axis: np.ndarray) -> float:
    """By brute force: the voxels in strips across the axis."""
    points = np.argwhere(frame).astype(float)
    along, across = points @ axis, points @ np.array([-axis[1], axis[0]])
    strips = np.rint(along).astype(int)
    return max(float(np.ptp(across[strips == strip])) for strip in np.unique(strips))


def brute_peak(values: np.ndarray, mask: np.ndarray, places: list[np.ndarray]) -> float:
    best = -np.inf
    for centre in np.argwhere(mask):
        away = [(place - place[at]) ** 2 for place, at in zip(places, centre, strict=True)]
        ball = away[0][:, None, None] + away[1][None, :, None] + away[2][None, None, :] <= RADIUS_MM**2
        best = max(best, float(values[ball].mean()))
    return best


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (3.27, 4.07, 2.73), (9.0, 7.0, 7.0), (1.5, 5.0, 0.9)])
def test_the_peak_is_the_best_mean_of_one_millilitre(spacing: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(3)
    values = rng.random((9, 14, 17)) * 20
    mask = np.zeros(values.shape, bool)
    mask[0:4, 2:9, 0:11] = rng.random((4, 7, 11)) < 0.4  # at the edge of the image, too
    mask[8, 13, 16] = True
    places = [step * np.arange(size) for step, size in zip(spacing, values.shape, strict=True)]
    got = peak_value(Mask.from_array(mask), lambda index: values[index], places[0], spacing[1:])
    assert got == pytest.approx(brute_peak(values, mask, places), rel=1e-9)
    assert 4 / 3 * np.pi * RADIUS_MM**3 == pytest.approx(1000)
    uneven = np.array([0, 2, 4, 6, 9, 12, 15, 18, 21.0])
    got = peak_value(Mask.from_array(mask), lambda index: values[index], uneven, spacing[1:])
    assert got == pytest.approx(brute_peak(values, mask, [uneven, *places[1:]]), rel=1e-9)


def test_suv_peak_need_not_lie_at_the_hottest_voxel(tmp_path: Path) -> None:
    """A lone hot voxel, and a warm ball elsewhere in the region: the ball has the peak. What is outside has none."""
    values = np.zeros((24, 30, 40), np.int16)
    grid = np.indices(values.shape)
    warm = sum((grid[axis] - at) ** 2 for axis, at in enumerate((11, 14, 27))) * 4 <= 9**2
    values[warm] = 400
    values[11, 14, 8] = 1000
    values[0, 0, 0] = 5000  # hotter, outside of the mask
    volume = made.volume(tmp_path, shape=values.shape, spacing_mm=(2.0, 2.0, 2.0), values=values)
    mask = np.zeros(values.shape, bool)
    mask[6:17, 9:20, 5:33] = True
    (got,) = measure([Mask.from_array(mask)], volume, quantity_of("PT", pet(Units="GML")))
    assert got.intensity is not None
    assert got.intensity.maximum == 1000
    assert got.intensity.peak == pytest.approx(400)


@pytest.mark.parametrize(
    "name",
    [
        "axial",
        "pet",
        "modality-lut",
        "enhanced-pet",
        "enhanced-no-shared",
        "enhanced-top-level",
        "legacy-ct",
        "bits-32",
    ],
)
def test_values_are_those_of_each_frame_in_every_form(tmp_path: Path, name: str) -> None:
    """As pydicom alone reads them: the rescale of the frame before any other, or the Modality LUT."""
    case = next(case for case in CASES if case.name == name)
    (volume,) = assemble(case.write(tmp_path)).volumes
    found = dict(FrameValues(volume, HeaderSource()).of(set(range(len(volume.frames)))))
    assert len(found) == len(volume.frames)
    for index, frame in enumerate(volume.frames):
        np.testing.assert_allclose(found[index], readback.source_values(frame.path, frame.number), rtol=1e-6)

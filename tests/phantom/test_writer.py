"""The CT writer, read back by other people's programs: dciodvfy, SimpleITK (GDCM), dcm2niix with nibabel."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from voxtell_dicom.phantom import Acquisition, demo_acquisition, torso, write_series
from voxtell_dicom.phantom.anatomy import TISSUES, Anatomy

COARSE = {"slice_spacing_mm": 7.0, "pixel_spacing_mm": (6.0, 6.0)}
WAYS = [
    Acquisition(**COARSE),
    Acquisition(**COARSE, descending=True),
    Acquisition(plane="sagittal", **COARSE),
    Acquisition(plane="coronal", **COARSE, position="FFS"),
    Acquisition(**COARSE, position="FFS"),
    Acquisition(**COARSE, position="HFP", descending=True),
    Acquisition(plane="coronal", **COARSE, position="FFP", turn_deg=(9.0, -6.0, 14.0)),
    Acquisition(turn_deg=(15.0, 10.0, -8.0), slice_spacing_mm=5.0, pixel_spacing_mm=(6.5, 6.0)),
]


def name(way: Acquisition) -> str:
    """A test's id."""
    return (
        f"{way.plane}-{way.position}{'-descending' if way.descending else ''}{'-oblique' if any(way.turn_deg) else ''}"
    )


def wrong_voxels(anatomy: Anatomy, values_hu: np.ndarray, points_mm: np.ndarray) -> int:
    """Voxels whose value cannot be the tissue's at that point of the patient: farther than 6 σ from its HU."""
    expected = np.array([anatomy.hu[tissue] for tissue in TISSUES])[anatomy.sample(points_mm)]
    return int((np.abs(values_hu - np.maximum(expected, -1024)) > 6 * anatomy.noise_hu + 1).sum())


@pytest.mark.parametrize("way", WAYS, ids=name)
def test_simpleitk_finds_each_tissue_where_the_anatomy_has_it(way: Acquisition, tmp_path: Path) -> None:
    anatomy = torso(11)
    files = write_series(anatomy, way, tmp_path)
    (series,) = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(tmp_path))
    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path), series))
    assert image.GetSize()[2] == len(files)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in image.GetSize()), indexing="ij"), axis=-1)
    matrix = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    points = np.array(image.GetOrigin()) + index @ matrix.T
    assert wrong_voxels(anatomy, sitk.GetArrayFromImage(image).transpose(2, 1, 0), points) <= 3


@pytest.mark.parametrize("way", WAYS, ids=name)
def test_dcm2niix_finds_each_tissue_where_the_anatomy_has_it(way: Acquisition, tmp_path: Path) -> None:
    anatomy = torso(12)
    write_series(anatomy, way, tmp_path / "series")
    command = ["dcm2niix", "-f", "volume", "-b", "n", "-z", "n", "-o", str(tmp_path), str(tmp_path / "series")]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = tmp_path.glob("*.nii")
    image = nibabel.load(path)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in image.shape), indexing="ij"), axis=-1)
    points = nibabel.affines.apply_affine(image.affine, index) * (-1, -1, 1)  # RAS to LPS
    assert wrong_voxels(anatomy, np.asarray(image.dataobj), points) <= 30  # float32 header: surfaces move by microns


@pytest.mark.parametrize("way", [*WAYS, Acquisition(**COARSE, tilt_deg=12.0), demo_acquisition(4)], ids=name)
def test_dciodvfy_finds_no_error(way: Acquisition, tmp_path: Path) -> None:
    files = write_series(torso(4), way, tmp_path)
    for path in (files[0], files[-1]):
        report = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False)
        said = report.stdout + report.stderr
        assert "CTImage" in said
        assert "Error" not in said, said


def test_file_names_and_instance_numbers_do_not_follow_the_position(tmp_path: Path) -> None:
    files = write_series(torso(1), Acquisition(**COARSE), tmp_path)
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in files]
    heights = [float(header.ImagePositionPatient[2]) for header in headers]
    assert heights == sorted(heights)
    numbers = [int(header.InstanceNumber) for header in headers]
    assert sorted(numbers) == list(range(1, len(files) + 1)) != numbers
    assert [path.name for path in files] != sorted(path.name for path in files)


def test_the_same_call_writes_the_same_objects(tmp_path: Path) -> None:
    way = demo_acquisition(2)
    one, two = (write_series(torso(2), way, tmp_path / part) for part in "ab")
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    other = write_series(torso(2), demo_acquisition(2, "coronal"), tmp_path / "c")
    first, third = (pydicom.dcmread(files[0], stop_before_pixels=True) for files in (one, other))
    assert first.SeriesInstanceUID != third.SeriesInstanceUID
    assert first.StudyInstanceUID == third.StudyInstanceUID
    assert first.FrameOfReferenceUID == third.FrameOfReferenceUID
    uids = {pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in (*one, *other)}
    assert len(uids) == len(one) + len(other)
    assert all(uid.startswith("2.25.") and len(uid) <= 64 for uid in uids)


def test_what_tests_need_broken_is_broken_as_asked(tmp_path: Path) -> None:
    anatomy = torso(6)
    whole = write_series(anatomy, Acquisition(**COARSE), tmp_path / "whole")
    broken = write_series(anatomy, Acquisition(**COARSE, missing=(5, 6), duplicated=(9,)), tmp_path / "broken")
    assert len(broken) == len(whole) - 2 + 1
    heights = [float(pydicom.dcmread(p, stop_before_pixels=True).ImagePositionPatient[2]) for p in broken[:-1]]
    assert np.isclose(np.diff(heights), 21.0).sum() == 1
    twins = [pydicom.dcmread(p) for p in (broken[-1], broken[7])]  # frame 9 stands at 7: 5 and 6 are missing
    assert twins[0].ImagePositionPatient == twins[1].ImagePositionPatient
    assert twins[0].PixelData == twins[1].PixelData
    assert twins[0].SOPInstanceUID != twins[1].SOPInstanceUID


def test_a_tilted_gantry_leans_the_images_and_not_the_table(tmp_path: Path) -> None:
    anatomy = torso(8)
    way = Acquisition(**COARSE, tilt_deg=15.0)
    headers = [pydicom.dcmread(path) for path in write_series(anatomy, way, tmp_path)]
    positions = np.array([header.ImagePositionPatient for header in headers], float)
    table = positions[-1] - positions[0]
    orientation = np.array(headers[0].ImageOrientationPatient, float)
    normal = np.cross(orientation[:3], orientation[3:])
    assert np.degrees(np.arccos(normal @ table / np.linalg.norm(table))) == pytest.approx(15.0, abs=1e-4)
    assert np.diff(positions @ normal) == pytest.approx(7.0, abs=1e-4)
    for header, position in zip(headers, positions, strict=True):
        rows, columns = np.mgrid[: header.Rows, : header.Columns]
        points = position + 6.0 * (columns[..., None] * orientation[:3] + rows[..., None] * orientation[3:])
        assert wrong_voxels(anatomy, header.pixel_array + float(header.RescaleIntercept), points) <= 2


def test_eighty_slices_of_128_squared_take_less_than_two_seconds(tmp_path: Path) -> None:
    begun = time.process_time()
    files = write_series(torso(0), Acquisition(shape=(80, 128, 128), pixel_spacing_mm=(3.0, 3.0)), tmp_path)
    assert len(files) == 80
    assert time.process_time() - begun < 2.0

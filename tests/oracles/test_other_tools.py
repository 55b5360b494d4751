"""Series that other people's programs re-encoded, and SimpleITK's reader as an oracle."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from tests.series import slices
from voxtell_dicom.engine.threshold import ThresholdEngine
from voxtell_dicom.model import Series
from voxtell_dicom.series.headers import assemble
from voxtell_dicom.series.image import to_sitk
from voxtell_dicom.series.volume import load_volume, to_ras
from voxtell_dicom.verify import verify_series

PROGRAMS = {
    "dcmcjpeg-lossless-sv1": ["dcmcjpeg", "+e1"],
    "dcmcjpeg-lossless-p14": ["dcmcjpeg", "+el"],
    "dcmcjpls": ["dcmcjpls"],
    "dcmcrle": ["dcmcrle"],
    "gdcmconv-j2k": ["gdcmconv", "--j2k"],
    "gdcmconv-jpeg": ["gdcmconv", "--jpeg"],
    "gdcmconv-jpegls": ["gdcmconv", "--jpegls"],
    "gdcmconv-rle": ["gdcmconv", "--rle"],
    "dcmconv-implicit": ["dcmconv", "+ti"],
    "dcmconv-deflated": ["dcmconv", "+td"],
    "dcmconv-big-endian": ["dcmconv", "+tb"],
}


def re_encoded(command: list[str], source: Series, folder: Path) -> Series:
    folder.mkdir()
    for instance in source.instances:
        subprocess.run([*command, instance.path, folder / instance.path.name], check=True, capture_output=True)
    return slices.series_in(folder)


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_same_voxels_and_same_key(program: str, signed: bool, tmp_path: Path) -> None:
    stored = slices.noise((4, 64, 48))
    values = stored.astype(np.int16) - 2048 if signed else stored
    source = slices.save(slices.stack(values), tmp_path / "source")
    expected, original = load_volume(assemble(source).volumes[0])
    again = re_encoded(PROGRAMS[program], source, tmp_path / "again")
    syntax = pydicom.dcmread(again.instances[0].path).file_meta.TransferSyntaxUID
    assert syntax != "1.2.840.10008.1.2.1"
    array, volume = load_volume(assemble(again).volumes[0])
    np.testing.assert_array_equal(array, expected)
    assert volume.key == original.key
    (found,) = verify_series(again, ThresholdEngine(), tmp_path)
    assert found.outcome == "exact"


def test_lossy_8_bit_is_handled_and_said(tmp_path: Path) -> None:
    rows, columns = np.mgrid[0:64, 0:48]
    smooth = np.stack([(2 * rows + columns + 20 * k).astype(np.uint8) for k in range(4)])
    datasets = slices.stack(smooth)
    for ds in datasets:
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    source = slices.save(datasets, tmp_path / "source")
    again = re_encoded(["dcmcjpeg", "+eb"], source, tmp_path / "again")
    (found,) = verify_series(again, ThresholdEngine(), tmp_path)
    assert found.outcome == "exact"
    assert any(warning.startswith("lossy") for warning in found.row.warnings)


def test_simpleitk_reads_the_same_places(tmp_path: Path) -> None:
    series = slices.save(slices.stack(slices.noise((6, 24, 20)), step=(0, 0, -2)), tmp_path)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    theirs = reader.Execute()
    (volume,) = assemble(series).volumes
    ours = to_sitk(volume, to_ras(volume))
    back = sitk.Resample(sitk.Cast(theirs, sitk.sitkFloat32), ours, sitk.Transform(), sitk.sitkNearestNeighbor)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(ours))

"""`predict` on a folder of DICOM files: NIfTI masks on the series' voxels in RAS order, where the anatomy is."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
from typer.testing import CliRunner

from voxtell_dicom.cli import app
from voxtell_dicom.engine import phantom_directory

LABELS = ("liver", "left kidney")


def test_a_dicom_folder_in_and_nifti_out_lies_on_the_truth(tmp_path: Path) -> None:
    """A coronal series: every axis has to be turned, and back."""
    runner = CliRunner()
    made = runner.invoke(app, ["phantom", str(tmp_path / "p"), "--seed", "7006", "--plane", "coronal", "--truth"])
    assert made.exit_code == 0, made.output
    asked = ["predict", "-i", str(tmp_path / "p/series"), "-o", str(tmp_path / "out"), "-m", str(phantom_directory())]
    done = runner.invoke(app, [*asked, "--device", "cpu", "-p", *LABELS])
    assert done.exit_code == 0, done.output
    assert "Wrote 2 file(s)" in done.output
    for label in LABELS:
        name = label.replace(" ", "_") + ".nii.gz"
        found = nibabel.load(tmp_path / "out" / f"series_{name}")
        truth = nibabel.as_closest_canonical(nibabel.load(tmp_path / "p/truth" / name))
        assert nibabel.aff2axcodes(found.affine) == ("R", "A", "S")
        assert found.shape == truth.shape
        assert np.allclose(found.affine, truth.affine, atol=1e-3)
        assert found.get_data_dtype() == np.uint8
        a, b = (np.asarray(image.dataobj) > 0 for image in (found, truth))
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.9


def test_a_folder_without_images_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    asked = ["predict", "-i", str(tmp_path / "empty"), "-o", str(tmp_path / "out"), "-m", str(phantom_directory())]
    done = CliRunner().invoke(app, [*asked, "--device", "cpu", "-p", "liver"])
    assert done.exit_code == 1
    assert done.output.startswith("voxtell-dicom: ")
    assert isinstance(done.exception, SystemExit)

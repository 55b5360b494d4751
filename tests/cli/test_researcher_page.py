"""The Python of the researcher's page is run as it stands: its masks are those of `predict`."""

from __future__ import annotations

import re
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from typer.testing import CliRunner

import voxtell_dicom
from voxtell_dicom.cli import app
from voxtell_dicom.cli.folder import series_in
from voxtell_dicom.series.headers import assemble
from voxtell_dicom.series.image import to_sitk
from voxtell_dicom.series.volume import to_ras

PAGE = Path(__file__).parents[2] / "docs/researcher.md"
MODEL = Path(voxtell_dicom.__file__).parent / "phantom/model"


def test_the_lines_give_the_masks_of_predict(small_ct: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len([line for line in code.splitlines() if line]) == 10
    (series,) = series_in(small_ct)
    (volume,) = assemble(series).volumes
    sitk.WriteImage(to_sitk(volume, to_ras(volume)), str(tmp_path / "ct.nii.gz"))
    (tmp_path / "model").symlink_to(MODEL)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, str(PAGE), "exec"), {})
    words = ("-i", "ct.nii.gz", "-o", "out", "-m", "model", "-p", "liver", "spleen", "--device", "cpu")
    done = CliRunner().invoke(app, ["predict", *words])
    assert done.exit_code == 0, done.output
    for prompt in ("liver", "spleen"):
        (official,) = (tmp_path / "out").glob(f"*{prompt}*.nii.gz")
        ours, theirs = (nibabel.load(path) for path in (tmp_path / f"{prompt}.nii.gz", official))
        np.testing.assert_array_equal(np.asanyarray(ours.dataobj), np.asanyarray(theirs.dataobj))
        np.testing.assert_allclose(ours.affine, theirs.affine)
        assert np.count_nonzero(np.asanyarray(ours.dataobj))

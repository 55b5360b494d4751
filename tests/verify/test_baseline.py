"""`verify --baseline`: the model's masks of now beside stored ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result as Ran
from typer.testing import CliRunner

from tests.json_page import assert_documented
from tests.series import slices
from voxtell_dicom.cli import app
from voxtell_dicom.model import Mask
from voxtell_dicom.verify.baseline import FILE, dice


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    slices.save(slices.stack(slices.noise((6, 24, 20))), tmp_path / "data")
    (tmp_path / "node.yaml").write_text("version: 1\nmodel: {engine: threshold}\n")
    return tmp_path


def run(folder: Path, *more: str) -> Ran:
    arguments = ["verify", str(folder / "data"), "--baseline", str(folder / "base"), "-c", str(folder / "node.yaml")]
    return CliRunner().invoke(app, [*arguments, "--json", *more])


def test_stored_then_the_same(folder: Path) -> None:
    first = run(folder, "-p", "> 300", "-p", "> 99999")
    assert first.exit_code == 0, first.output
    again = run(folder)
    assert again.exit_code == 0, again.output
    rows = assert_documented("voxtell-dicom verify --baseline", again.stdout)
    assert [(row["prompt"], row["outcome"], row["dice"]) for row in rows] == [
        ("> 300", "same", 1.0),
        ("> 99999", "same", 1.0),
    ]
    report, *_ = (folder / "base").glob("verify-*.json")
    assert json.loads(report.read_text())["engine"].endswith("threshold")
    assert json.loads((folder / "base" / FILE).read_text())["versions"]["pydicom"]


def test_a_changed_model_is_seen(folder: Path) -> None:
    run(folder, "-p", "> 300")
    content = json.loads((folder / "base" / FILE).read_text())
    stored = content["masks"][0]
    (other,) = json.loads(run(folder, "--min-dice", "0.5").stdout)
    assert other["outcome"] == "same"
    stored["prompt"] = "> 400"  # as if the model had given another mask for this prompt
    content["masks"][0] = _signed(stored)
    (folder / "base" / FILE).write_text(json.dumps(content))
    changed = run(folder)
    assert changed.exit_code == 1
    (row,) = json.loads(changed.stdout)
    assert row["outcome"] == "changed"
    assert 0.8 < row["dice"] < 0.99
    close = run(folder, "--min-dice", "0.8")
    assert close.exit_code == 0
    assert json.loads(close.stdout)[0]["outcome"] == "close"


def _signed(item: dict) -> dict:
    from voxtell_dicom.model import load
    from voxtell_dicom.verify.baseline import Segmented

    plain = {key: value for key, value in item.items() if key != "digest"}
    return {**plain, "digest": load(Segmented, plain).digest}


def test_a_damaged_baseline_is_refused(folder: Path) -> None:
    run(folder, "-p", "> 300")
    path = folder / "base" / FILE
    content = json.loads(path.read_text())
    content["masks"][0]["mask"]["voxels"] += 1
    path.write_text(json.dumps(content))
    result = run(folder)
    assert result.exit_code == 2
    assert "not what was stored" in result.output


def test_new_baseline_needs_prompts(folder: Path) -> None:
    assert run(folder).exit_code == 2


def test_dice() -> None:
    one, other = np.zeros((4, 5, 6), bool), np.zeros((4, 5, 6), bool)
    one[1:3, 1:4, 1:4] = True
    other[2:4, 2:5, 1:4] = True
    both = 2 * np.count_nonzero(one & other) / (one.sum() + other.sum())
    assert dice(Mask.from_array(one), Mask.from_array(other)) == pytest.approx(both)
    assert dice(Mask.from_array(one), Mask.from_array(one)) == 1
    assert dice(Mask.from_array(np.zeros_like(one)), Mask.from_array(np.zeros_like(one))) == 1
    other[:] = False
    other[0, 0, 0] = True
    assert dice(Mask.from_array(one), Mask.from_array(other)) == 0

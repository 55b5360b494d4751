"""`rules explain` on a series: every rule, every condition, met or not, and the value found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pydicom
import pytest
import yaml
from typer.testing import CliRunner, Result

from tests.json_page import assert_documented
from tests.system.made_study import STUDY_RULE, series_uid, write_study
from voxtell_dicom.cli import app

RULES = """\
version: 1
node: {ae_title: NODE}
model: {engine: threshold}
rules:
  - name: yes
    when: {Modality: CT, instances: {at_least: 20}, called_ae: NODE, volume: {plane: axial, slices: 24}}
    prompts: ["> 300"]
  - name: no
    when: {Modality: CT, SliceThickness: {at_most: 1}, calling_ae: CT1}
    prompts: [liver]
""".replace("name: yes", "name: 'yes'").replace("name: no", "name: 'no'")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "node.yaml"
    path.write_text(RULES)
    return path


def explain(folder: Path, config: Path, *flags: str) -> Result:
    return CliRunner().invoke(app, ["rules", "explain", str(folder), "-c", str(config), *flags])


def by_rule(rules: list[dict[str, Any]]) -> dict[str, dict[str, tuple[str, bool]]]:
    return {
        rule["rule"]: {each["subject"]: (each["found"], each["met"]) for each in rule["conditions"]} for rule in rules
    }


def test_every_condition_with_what_was_found(small_ct: Path, config: Path) -> None:
    done = explain(small_ct, config, "--json")
    assert done.exit_code == 0, done.output
    page = assert_documented("voxtell-dicom rules explain", done.stdout)
    (series,) = page["series"]
    assert page["studies"] == []
    assert series["instances"] == 24
    (volume,) = series["volumes"]
    assert [(rule["rule"], rule["met"]) for rule in volume["rules"]] == [("yes", True), ("no", False)]
    found = by_rule(volume["rules"])
    assert found["yes"]["volume.plane"] == ("axial", True)
    assert found["yes"]["instances"] == ("24", True)
    assert found["no"]["SliceThickness"] == ("8", False)
    assert found["no"]["calling_ae"] == ("absent", False)
    sent = assert_documented(
        "voxtell-dicom rules explain", explain(small_ct, config, "--json", "--calling-ae", "CT1").stdout
    )
    assert by_rule(sent["series"][0]["volumes"][0]["rules"])["no"]["calling_ae"] == ("CT1", True)


def test_prompts_for_findings_are_marked(small_ct: Path, tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    rule = {"name": "r", "when": {"Modality": "CT"}, "prompts": ["liver", "liver lesion"], "experimental": True}
    path.write_text(json.dumps({"version": 1, "model": {"engine": "phantom"}, "rules": [rule]}))
    page = assert_documented("voxtell-dicom rules explain", explain(small_ct, path, "--json").stdout)
    (shown,) = page["series"][0]["volumes"][0]["rules"]
    assert [(prompt["text"], prompt["finding"]) for prompt in shown["prompts"]] == [
        ("liver", False),
        ("liver lesion", True),
    ]


def test_a_rule_of_scope_study_ranks_the_volumes(config: Path, tmp_path: Path) -> None:
    config.write_text(
        yaml.safe_dump({"version": 1, "model": {"engine": "threshold"}, "rules": [STUDY_RULE | {"send_to": []}]})
    )
    series = write_study(tmp_path / "study", seed=33)
    uids = {name: series_uid(files) for name, files in series.items()}
    done = explain(tmp_path / "study", config, "--json")
    assert done.exit_code == 0, done.output
    (study,) = assert_documented("voxtell-dicom rules explain", done.stdout)["studies"]
    (rule,) = study["rules"]
    first, *others = rule["ranking"]
    assert (first["series_uid"], first["chosen"], first["lost"]) == (uids["thin"], True, "")
    assert first["standing"] == ["8 mm between slices", f"{len(series['thin'])} slices"]
    assert {each["series_uid"]: each["lost"] for each in others} == {
        uids["thick"]: "thinnest: 16 mm between slices, the chosen one has 8 mm between slices",
        uids["sharp"]: "does not meet volume.kernel",
        uids["coronal"]: "does not meet volume.plane",
    }
    assert not any(each["chosen"] for each in others)
    shown = explain(tmp_path / "study", config).stdout
    for words in ("chosen", "one of the study", "does not meet", "lost"):
        assert words in shown


def test_people_see_the_same(small_ct: Path, config: Path) -> None:
    shown = explain(small_ct, config).stdout
    for words in ("meets it", "does not", "SliceThickness", "at most 1", "✓", "✗", "nowhere"):
        assert words in shown
    uid = pydicom.dcmread(next(small_ct.glob("*.dcm")), stop_before_pixels=True).SeriesInstanceUID
    assert uid in shown


def test_a_series_that_is_refused_says_why(small_ct: Path, config: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(small_ct, tmp_path / "gap")
    by_height = sorted(
        folder.glob("*.dcm"), key=lambda path: pydicom.dcmread(path, stop_before_pixels=True).ImagePositionPatient[2]
    )
    by_height[10].unlink()
    done = explain(folder, config, "--json")
    assert done.exit_code == 0
    (series,) = assert_documented("voxtell-dicom rules explain", done.stdout)["series"]
    assert ("missing-slice", True) in [(item["code"], item["refused"]) for item in series["not_processed"]]


def test_wrong_input(small_ct: Path, config: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = explain(tmp_path / "empty", config)
    assert done.exit_code == 2
    assert "no DICOM file in it" in done.stderr
    config.write_text(RULES.replace("SliceThickness", "SliceThicknes"))
    done = explain(small_ct, config)
    assert done.exit_code == 2
    assert "did you mean 'SliceThickness'?" in done.stderr

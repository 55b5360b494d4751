"""Conditions under ``when`` that make no sense are refused by line, word and nearest right word."""

from __future__ import annotations

from pathlib import Path

import pytest

from voxtell_dicom.config import Source
from voxtell_dicom.errors import ConfigError
from voxtell_dicom.rules import load_config, problems

FILE = """\
version: 1
model: {{engine: phantom}}
rules:
  - name: a rule
    when:
      Modality: CT
      {condition}
    prompts: [liver]
"""


def said(condition: str) -> list[str]:
    found = problems(Source(FILE.format(condition=condition), "node.yaml"))
    assert all(problem.line == 7 for problem in found)
    return [problem.message for problem in found]


@pytest.mark.parametrize(
    "condition",
    [
        "SliceThickness: {at_most: 5}",
        "SliceThickness: '5'",
        "SeriesDescription: {matches: '(?i)abd|liver'}",
        "BodyPartExamined: [ABDOMEN, CHEST]",
        "BodyPartExamined: {equals: ABDOMEN}",
        "BodyPartExamined: {one_of: [ABDOMEN]}",
        "instances: {at_least: 30, at_most: 900}",
        "calling_ae: [CT1, PACS]",
        "called_ae: VOXTELL",
        "ContrastBolusAgent: {absent: true}",
        "ContrastBolusAgent: {absent: false, matches: .}",
        "SOPClassUID: CTImageStorage",
        "SOPClassUID: 1.2.840.10008.5.1.4.1.1.2",
        "PatientAge: {at_least: 18}",
        "RequestAttributesSequence: {absent: true}",
        "volume: {plane: axial, slices: {at_least: 30}}",
        "ImageType: ORIGINAL",
    ],
)
def test_sensible(condition: str) -> None:
    assert said(condition) == []


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("SliceThicknes: 5", "'SliceThicknes' is neither a DICOM keyword nor one of instances, calling_ae, called_ae, "
         "volume; did you mean 'SliceThickness'?"),
        ("instance: 5", "did you mean 'instances'?"),
        ("calling_ea: X", "did you mean 'calling_ae'?"),
        ("ImageType: 'ORIGINAL\\PRIMARY'", "values are compared one by one; write one of them, such as ORIGINAL"),
        ("SeriesDescription: {matches: '(?!x)a'}", "to exclude words, use the condition 'not_matches:'"),
        ("SeriesDescription: {not_matches: '(a'}", "'not_matches: (a' is not a regular expression"),
        ("SliceThickness: {atmost: 5}", "unknown condition 'atmost'; did you mean 'at_most'?"),
        ("SliceThickness: thin", "'thin' is not a number, and SliceThickness holds numbers"),
        ("SliceThickness: {at_most: thin}", "'at_most': input should be a valid number"),
        ("SliceThickness: {at_least: 5, at_most: 3}", "at_least 5 is more than at_most 3"),
        ("SliceThickness:", "has no value"),
        ("SliceThickness: {}", "is empty"),
        ("SliceThickness: []", "'one_of': list should have at least 1 item"),
        ("SeriesDescription: {matches: '(liver'}", "'matches: (liver' is not a regular expression: missing )"),
        ("SeriesDescription: {at_least: 3}", "'at_least' needs a number, and SeriesDescription is text"),
        ("PatientSex: NO", "put the value in quotes"),
        ("StudyDate: 2026-01-01", "put the value in quotes"),
        ("AccessionNumber: 0012", "AccessionNumber is text, and YAML reads a number here; put it in quotes"),
        ("BodyPartExamined: Abdomen", "written in capitals (VR CS); did you mean 'ABDOMEN'?"),
        ("SOPClassUID: CTImageStorag", "neither a UID nor the keyword of one; did you mean 'CTImageStorage'?"),
        ("PixelData: {absent: true}", "holds binary data"),
        ("RequestAttributesSequence: x", "is a sequence; only {absent: true}"),
        ("ContrastBolusAgent: {absent: true, equals: x}", "can never hold together"),
        ("ContrastBolusAgent: {absent: perhaps}", "'absent': input should be a valid boolean"),
        ("volume: axial", "volume: needs facts"),
        ("volume: {plain: axial}", "'plain' is not a fact of a volume; did you mean 'plane'?"),
        ("volume: {plane: axal}", "'axal' is not one of axial, coronal, sagittal, oblique; did you mean 'axial'?"),
        ("volume: {slices: many}", "'many' is not a number"),
    ],
)  # fmt: skip
def test_senseless(condition: str, words: str) -> None:
    found = said(condition)
    assert len(found) == 1
    assert found[0].startswith("rule 'a rule': ")
    assert words in found[0]


@pytest.mark.parametrize(
    "when", ["{}", "{SliceThickness: 5}", "{Modality: {absent: true}}", "{Modality: {absent: false}}"]
)
def test_modality_is_required(tmp_path: Path, when: str) -> None:
    path = tmp_path / "node.yaml"
    rule = f"  - {{name: a, when: {when}, prompts: [x]}}\n"
    path.write_text("version: 1\nmodel: {engine: phantom}\nrules:\n" + rule)
    with pytest.raises(ConfigError, match=r"node.yaml:4: rule 'a': a condition on Modality is required"):
        load_config(path)


def test_misspelt_modality_is_one_problem() -> None:
    text = FILE.replace("Modality", "Modalty").format(condition="instances: 5")
    found = problems(Source(text, "node.yaml"))
    assert len(found) == 1
    assert found[0].line == 6
    assert "did you mean 'Modality'?" in found[0].message


STUDY = """\
version: 1
model: {engine: phantom}
rules:
  - name: a rule
    when: {Modality: CT}
    scope: study
    choose:
      best: [thinnest, most slices]
      where: {plane: axial}
    prompts: [liver]
"""


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("plane: axial", "plain: axial", "9: rule 'a rule': 'plain' is not a fact of a volume; did you mean 'plane'?"),
        ("plane: axial", "plane: axil", "9: rule 'a rule': plane: 'axil' is not one of axial, coronal, sagittal"),
        ("most slices", "more slices", "8: rules[0].choose.best[1]: 'more slices' is not one of thinnest, most slices"),
        ("best: [thinnest, most slices]", "best: []", "8: rules[0].choose.best"),
        ("where:", "were:", "9: unknown key 'were' in rules[0].choose; did you mean 'where'?"),
        ("study", "series", "7: rules[0].choose: only a rule with 'scope: study' chooses among the volumes of a study"),
        ("study", "studies", "6: rules[0].scope: 'studies' is not one of series, study; did you mean"),
    ],
)
def test_how_a_rule_of_scope_study_chooses(tmp_path: Path, right: str, wrong: str, said: str) -> None:
    path = tmp_path / "node.yaml"
    path.write_text(STUDY)
    assert load_config(path).rules[0].choose.where == {"plane": "axial"}
    path.write_text(
        STUDY.replace("scope: study" if right == "study" else right, f"scope: {wrong}" if right == "study" else wrong)
    )
    with pytest.raises(ConfigError) as refused:
        load_config(path)
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"{path}:{said}")

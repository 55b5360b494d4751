"""The receipt as Basic Text SR: valid, the words of the page as items, in programs that are not ours."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest
from highdicom.sr import ContentSequence
from pydicom.dataset import Dataset

from tests.encode import made
from voxtell_dicom.config import Config
from voxtell_dicom.encode import Notice, OutputContext, encode, encode_notice, in_other_form, output_context
from voxtell_dicom.encode.receipt.notice import MEANINGS
from voxtell_dicom.encode.receipt.receipt import encode_receipt
from voxtell_dicom.model import Found, Plan, Prompt, Result, Volume

BASIC_TEXT = "1.2.840.10008.5.1.4.1.1.88.11"


def items_of(items: Sequence[Dataset], path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], str]]:
    """(concept names from the root, value) of each item, in the order of the document."""
    found = []
    for item in items:
        where = (*path, str(item.ConceptNameCodeSequence[0].CodeMeaning))
        if item.ValueType == "CODE":
            found.append((where, str(item.ConceptCodeSequence[0].CodeValue)))
        elif item.ValueType != "CONTAINER":
            found.append((where, str(item.get("TextValue") or item.get("UID") or item.get("DateTime"))))
        found += items_of(item.get("ContentSequence") or [], where)
    return found


def dsrdump(path: Path) -> str:
    """The document as DCMTK shows it; it refuses value types and relationships that the IOD does not have."""
    run = subprocess.run(["dsrdump", "+Pc", str(path)], capture_output=True, text=True, timeout=60)
    said = [line for line in run.stderr.splitlines() if "does not support this Specific Character Set" not in line]
    assert (run.returncode, said) == (0, [])
    return run.stdout


def material(folder: Path, **more: Any) -> tuple[Plan, Volume, list[Found]]:
    volume = replace(made.volume(folder / "s", **more), warnings=("2 slices are missing",))
    plan = made.plan(["liver", "spleen", "left kidney"], outputs=("seg",))
    arrays = made.masks(volume.grid.shape, 3)
    arrays[1][:] = arrays[2][:] = False
    found = made.found(plan, arrays)
    found[0] = replace(found[0], mean_probability=0.93)
    found[2] = replace(found[2], left_out="low confidence: mean probability 0.41 is below 0.6")
    return plan, volume, found


def test_of_a_result(tmp_path: Path) -> None:
    plan, volume, found = material(tmp_path)
    report = encode_receipt(OutputContext(plan, volume, found, directory=tmp_path / "out"), form="sr")
    assert made.dciodvfy(report.path) == []
    ds = pydicom.dcmread(report.path)
    assert (report.kind, ds.SOPClassUID, ds.Modality) == ("receipt_sr", BASIC_TEXT, "SR")
    assert (ds.CompletionFlag, ds.VerificationFlag, ds.PreliminaryFlag) == ("COMPLETE", "UNVERIFIED", "PRELIMINARY")
    assert ds.SeriesDescription == "AI RESEARCH abdomen receipt [1 of 3 structures] [!]"
    title = ds.ConceptNameCodeSequence[0]
    assert (title.CodingSchemeDesignator, title.CodeMeaning) == ("99VOXTELL", "What an AI segmentation searched")
    items = items_of(ds.ContentSequence)
    ml = found[0].mask.voxels * 2.5 * 0.75 * 0.8 / 1000
    assert [(value, where[-1]) for where, value in items if where[0] in ("Summary", "Findings")] == [
        ("Found 1 of 3", "Outcome"),
        ("2 slices are missing", "Problem"),
        ("AI result, not for diagnosis", "Comment"),
        (f"Liver: found, {ml:.4g} mL, confidence high (mean probability 0.93)", "Finding"),
        ("FOUND", "Outcome"),
        ("Spleen: NOT FOUND", "Finding"),
        ("NOT_FOUND", "Outcome"),
        ("Left kidney: LEFT OUT, low confidence: mean probability 0.41 is below 0.6", "Finding"),
        ("LEFT_OUT", "Outcome"),
    ]
    origin = {where[-1]: value for where, value in items if where[0] == "What was searched, and by what"}
    assert (origin["Source series for segmentation"], origin["Algorithm Parameters"]) == (volume.series_uid, made.MODEL)
    assert (origin["Rule"], origin["Images"], origin["Algorithm Name"]) == ("abdomen", "6 CT, 2.50 mm apart", "VoxTell")
    assert {("Language of Content Item and Descendants",), ("Device Observer UID",)} <= {where for where, _ in items}
    assert [
        str(item.ReferencedSOPInstanceUID)
        for study in ds.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    ] == [frame.sop_instance_uid for frame in volume.frames]
    shown = dsrdump(report.path)
    assert '(121071,DCM,"Finding")="Spleen: NOT FOUND"' in shown
    root = Dataset()
    for keyword in ("ConceptNameCodeSequence", "ContentSequence", "ValueType", "ContinuityOfContent"):
        setattr(root, keyword, ds[keyword].value)
    tree = ContentSequence.from_sequence([root], is_root=True)
    assert tree[0].ContentSequence.find(tree[0].ContentSequence[-1].name), "highdicom reads it, too"


@pytest.mark.parametrize("outcome", MEANINGS)
def test_of_work_without_a_result(tmp_path: Path, outcome: str) -> None:
    volume = made.volume(tmp_path / "s", SeriesDescription="ABD  PORTAL", SpecificCharacterSet="ISO_IR 100")
    plan = made.plan(["liver", "肝臓"], outputs=("receipt",))
    said = {"refused": "not searched", "failed": "no result", "held": "found, held", "dropped": "LEFT OUT"}[outcome]
    paths = tuple(frame.path for frame in volume.frames)
    prompts = (("Liver", said), ("肝臓", "NOT FOUND"))
    notice = Notice(outcome, ("missing-slice: one", "job 1"), prompts, volume.study_uid, volume.series_uid, paths)
    report = encode_notice(plan, notice, directory=tmp_path / "out", form="sr", engine="phantom")
    assert made.dciodvfy(report.path) == []
    ds = pydicom.dcmread(report.path)
    assert f"[{outcome}]" in ds.SeriesDescription
    values = [value for _, value in items_of(ds.ContentSequence)]
    assert {MEANINGS[outcome], "missing-slice: one", "job 1", f"Liver: {said}", "肝臓: NOT FOUND"} <= set(values)
    assert "AI result, not for diagnosis - TEST - NOT FOR PATIENTS" in values
    assert "4, ABD PORTAL" in values
    assert not any("Doe" in value for value in values)
    dsrdump(report.path)


def test_both_forms_say_the_same_under_uids_of_their_own(tmp_path: Path) -> None:
    plan, volume, found = material(tmp_path)
    context = OutputContext(plan, volume, found, directory=tmp_path / "out")
    page = encode_receipt(context)
    report = encode_receipt(context, form="sr")
    assert in_other_form(page) == report
    assert in_other_form(report) == page
    assert in_other_form(replace(page, other=None)) is None, "written by a version that made one form"
    assert len({page.sop_instance_uid, report.sop_instance_uid, page.series_uid, report.series_uid}) == 4
    comments = " ".join(pydicom.dcmread(page.path).ImageComments.split())
    for where, value in items_of(pydicom.dcmread(report.path).ContentSequence):
        if where[0] in ("Summary", "Findings") and where[-1] in ("Outcome", "Problem") and not value.isupper():
            assert value in comments
    assert pydicom.dcmread(page.path).SeriesDescription == pydicom.dcmread(report.path).SeriesDescription


def test_the_rule_says_which_form_goes(tmp_path: Path) -> None:
    plan, volume, found = material(tmp_path)
    kinds = {}
    for form in ("secondary", "sr"):
        rule = {"name": "abdomen", "when": {"Modality": "CT"}, "prompts": ["liver"], "receipt_as": form}
        config = Config.model_validate({"version": 1, "model": {"engine": "phantom"}, "rules": [rule]})
        results = encode(output_context(plan, volume, found, config=config, directory=tmp_path / form), config)
        kinds[form] = [result.kind for result in results]
    assert kinds == {"secondary": ["seg", "receipt"], "sr": ["seg", "receipt_sr"]}


def test_a_long_and_foreign_receipt(tmp_path: Path) -> None:
    """Sixty prompts of many letters; a source that says little."""
    lacking = dict.fromkeys(("PatientBirthDate", "PatientSex", "StudyTime", "StudyID", "SeriesNumber", "Manufacturer"))
    volume = made.volume(tmp_path / "s", **lacking)
    prompts = [Prompt(f"тело {number} " + "x" * 900, f"тело {number} " + "y" * 50) for number in range(60)]
    plan = made.plan([], prompts=prompts)
    found = made.found(plan, [made.masks(volume.grid.shape, 1)[0]] * 60)
    report: Result = encode_receipt(OutputContext(plan, volume, found, directory=tmp_path / "out"), form="sr")
    assert made.dciodvfy(report.path) == []
    ds = pydicom.dcmread(report.path)
    assert ds.SpecificCharacterSet == "ISO_IR 192"
    assert sum(value.startswith("тело") for _, value in items_of(ds.ContentSequence)) == 60
    dsrdump(report.path)

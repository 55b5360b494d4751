"""What the PACS gets, in words, of a series in which nothing, or not all, was found, that is held, or that is refused.

docs/receipts.md states the table that is tested here, for each `receipt` setting, with Orthanc.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from tests.system.made_series import write_ct
from tests.system.node_process import NodeProcess
from tests.system.peers.dcmtk import storescu
from tests.system.peers.orthanc import Orthanc
from tests.system.seg_check import dciodvfy_errors
from voxtell_dicom.archive.database import open_database
from voxtell_dicom.cli.jobs import find_job
from voxtell_dicom.jobs.actions import JobActions
from voxtell_dicom.jobs.book import JobBook
from voxtell_dicom.rules import load_config
from voxtell_dicom.workflow.client import QueueClient

WISHES = ("always", "on_problem", "never")
BRIGHT = {"text": "> 300", "label": "Bright"}
BRIGHTER = {"text": "> 5000", "label": "Brighter"}  # never there
BRIGHTEST = {"text": "> 9000", "label": "Brightest"}
UIDS = ("StudyInstanceUID", "SeriesInstanceUID")
STUDIES: dict[str, str] = {}  # by case
SERIES: dict[str, str] = {}
TEST = "TEST - NOT FOR PATIENTS"
CASES: dict[str, dict[str, Any]] = {
    "all-found": {"prompts": [BRIGHT]},
    "all-empty": {"prompts": [BRIGHTER, BRIGHTEST]},
    "all-empty-report": {"prompts": [BRIGHTER, BRIGHTEST], "empty": "report"},
    "partly": {"prompts": [BRIGHT, BRIGHTER]},
    "partly-report": {"prompts": [BRIGHT, BRIGHTER], "empty": "report"},
    "held": {"prompts": [BRIGHT, BRIGHTER], "empty": "hold"},
    "held-empty": {"prompts": [BRIGHTER], "empty": "hold"},
    "held-dropped": {"prompts": [BRIGHT, BRIGHTER], "empty": "hold"},
    "dropped": {"prompts": [BRIGHT, BRIGHTER], "on_warning": {"empty": "drop"}},
    "failed": {"prompts": [BRIGHT]},
    "refused": {"prompts": [BRIGHT, BRIGHTER]},
    "mixed": {"prompts": [BRIGHT]},
}


@pytest.fixture(scope="module")
def node(orthanc: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A node that has worked through one series of each case."""
    rules = [
        {
            "name": f"{number} {wish}",  # short: with the test mark, little room is left in the series description
            "when": {"Modality": "CT", "PatientID": case},
            "receipt": wish,
            "send_to": ["pacs"],
            **settings,
        }
        for number, (case, settings) in enumerate(CASES.items())
        for wish in WISHES
    ]
    folder = tmp_path_factory.mktemp("node")
    files: list[Path] = []
    for case in CASES:
        files += with_a_bright_block(write_ct(folder / case, patient_id=case, slices=6, rows=24, columns=24))
        STUDIES[case], SERIES[case] = (pydicom.dcmread(files[-1])[keyword].value for keyword in UIDS)
    stranger = write_ct(folder / "stranger", patient_id="stranger", slices=3, rows=8, columns=8)
    STUDIES["stranger"], SERIES["stranger"] = (pydicom.dcmread(stranger[0])[keyword].value for keyword in UIDS)
    change(folder / "failed" / "003.dcm", AccessionNumber="ACC-2")  # nobody knows which is right
    change(folder / "mixed" / "003.dcm", IssuerOfPatientID="another hospital")
    twin = pydicom.dcmread(folder / "refused" / "003.dcm")  # another slice at the place of one that is there
    twin.SOPInstanceUID = twin.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    twin.PixelData = b"\x01\x00" * (len(twin.PixelData) // 2)
    twin.save_as(folder / "twin.dcm")
    with NodeProcess(folder, peers={"pacs": orthanc.dimse_settings}, rules=rules) as running:
        storescu([*files, *stranger, folder / "twin.dcm"], running.port)
        others = [state for state in ("held", "held", "held", "dropped", "failed") for _ in WISHES]
        running.wait_for_jobs(*["delivered"] * 14, "empty", *others, "refused", "refused", "unmatched", timeout_s=120)
        yield running


def change(path: Path, **values: str) -> None:
    ds = pydicom.dcmread(path)
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    ds.save_as(path)


def with_a_bright_block(files: list[Path]) -> list[Path]:
    """-1024 HU everywhere but in a block of 976 HU that touches no edge: the self-check finds nothing to say."""
    for number, path in enumerate(files):
        ds = pydicom.dcmread(path)
        pixels = np.zeros((ds.Rows, ds.Columns), np.uint16)
        pixels[8:16, 6:18] = 2000 if 2 <= number <= 3 else 0
        ds.PixelData = pixels.tobytes()
        ds.save_as(path)
    return files


def release(node: NodeProcess, jobs: dict[str, dict[str, Any]]) -> None:
    """Release a job as `jobs release` does, without starting Python for each."""
    config = load_config(node.yaml)
    engine = open_database(config)
    book = JobBook(engine, config.node.storage)
    actions = JobActions(book, QueueClient(engine))
    for job in jobs.values():
        actions.release(find_job(book, job["id"]))


def jobs_of(node: NodeProcess, case: str) -> dict[str, dict[str, Any]]:
    """The jobs of a case by `receipt` setting."""
    return {job["rule"].rpartition(" ")[2]: job for job in node.jobs() if job["series_uid"] == SERIES[case]}


def arrived(orthanc: Orthanc, study_uid: str) -> dict[str, dict[str, Dataset]]:
    """What lies in the study: by `receipt` setting, then by modality (SEG, OT for a receipt; OT held, OT refused …)."""
    found: dict[str, dict[str, Dataset]] = {wish: {} for wish in WISHES}
    for instance in orthanc.instances(study_uid):
        ds = pydicom.dcmread(BytesIO(orthanc.download(instance)))
        words = str(ds.SeriesDescription)
        wish = next((wish for wish in WISHES if re.search(rf" {wish} (SEG|receipt) \[", words)), "on_problem")
        assert wish != "on_problem" or re.search(r"on_problem|\d\.\.\.", words), words  # it may be cut at a word
        outcome = str(ds.SeriesDescription).partition("[")[2].partition("]")[0]
        name = str(ds.Modality) if " of " in outcome else f"{ds.Modality} {outcome}"
        assert name not in found[wish]
        assert str(ds.SeriesDescription).endswith(TEST)
        found[wish][name] = ds
    return found


def states(jobs: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {wish: job["state"] for wish, job in jobs.items()}


def kinds(there: dict[str, dict[str, Dataset]]) -> dict[str, list[str]]:
    return {wish: sorted(objects) for wish, objects in there.items()}


def words(receipt: Dataset) -> list[str]:
    """The lines of a receipt: of the attribute, since the same ones on the picture cannot be read by a program."""
    assert (receipt.SOPClassUID.name, receipt.BurnedInAnnotation) == ("Secondary Capture Image Storage", "YES")
    assert np.mean(receipt.pixel_array.max(axis=2) > 200) > 0.002
    return [" ".join(line.split()) for line in receipt.ImageComments.splitlines()]


def test_all_found(node: NodeProcess, orthanc: Orthanc) -> None:
    study, jobs = STUDIES["all-found"], jobs_of(node, "all-found")
    there = arrived(orthanc, study)
    assert states(jobs) == dict.fromkeys(WISHES, "delivered")
    assert kinds(there) == {"always": ["OT", "SEG"], "on_problem": ["SEG"], "never": ["SEG"]}
    assert "Found 1 of 1" in words(there["always"]["OT"])
    assert "[1 of 1] TEST" in there["always"]["OT"].SeriesDescription


def test_all_empty(node: NodeProcess, orthanc: Orthanc, tmp_path: Path) -> None:
    study, jobs = STUDIES["all-empty"], jobs_of(node, "all-empty")
    there = arrived(orthanc, study)
    assert states(jobs) == {"always": "delivered", "on_problem": "delivered", "never": "empty"}
    assert {jobs[wish]["reason"] for wish in ("always", "on_problem")} == {"nothing found"}
    assert jobs["never"]["reason"] == "nothing found: there is no object to send"
    assert kinds(there) == {"always": ["OT"], "on_problem": ["OT"], "never": []}
    for wish in ("always", "on_problem"):
        receipt = there[wish]["OT"]
        assert "receipt [0 of 2]" in receipt.SeriesDescription
        lines = words(receipt)
        assert {"Found 0 of 2", "Brighter NOT FOUND", "Brightest NOT FOUND"} <= set(lines)
        assert any(line.startswith("Program voxtell-dicom/") for line in lines)
        receipt.save_as(tmp_path / "receipt.dcm")
        assert dciodvfy_errors(tmp_path / "receipt.dcm") == []


def test_empty_report_makes_a_receipt_whatever_receipt_says(node: NodeProcess, orthanc: Orthanc) -> None:
    study, jobs = STUDIES["all-empty-report"], jobs_of(node, "all-empty-report")
    assert states(jobs) == dict.fromkeys(WISHES, "delivered")
    assert kinds(arrived(orthanc, study)) == {wish: ["OT"] for wish in WISHES}
    study, jobs = STUDIES["partly-report"], jobs_of(node, "partly-report")
    assert states(jobs) == dict.fromkeys(WISHES, "delivered")
    assert kinds(arrived(orthanc, study)) == {wish: ["OT", "SEG"] for wish in WISHES}


def test_partly_empty(node: NodeProcess, orthanc: Orthanc) -> None:
    study, jobs = STUDIES["partly"], jobs_of(node, "partly")
    there = arrived(orthanc, study)
    assert states(jobs) == dict.fromkeys(WISHES, "delivered")
    assert {job["reason"] for job in jobs.values()} == {""}
    assert kinds(there) == {"always": ["OT", "SEG"], "on_problem": ["OT", "SEG"], "never": ["SEG"]}
    for objects in there.values():
        assert "SEG [1 of 2] TEST" in objects["SEG"].SeriesDescription
        assert [str(item.SegmentLabel) for item in objects["SEG"].SegmentSequence] == [f"Bright {TEST}"]
    lines = words(there["on_problem"]["OT"])
    assert {"Found 1 of 2", "Brighter NOT FOUND"} <= set(lines)
    assert any(line.startswith("Bright found, ") for line in lines)


def test_held_sends_nothing_until_it_is_released(node: NodeProcess, orthanc: Orthanc) -> None:
    study, jobs = STUDIES["held"], jobs_of(node, "held")
    assert states(jobs) == dict.fromkeys(WISHES, "held")
    assert all("Brighter: nothing was found" in job["reason"] for job in jobs.values())
    there = arrived(orthanc, study)
    assert kinds(there) == {"always": ["OT held"], "on_problem": ["OT held"], "never": []}
    refused = node.cli("jobs", "retry", jobs["always"]["id"], check=False)
    assert (refused.returncode, "is held" in refused.stderr) == (1, True)
    assert orthanc.instances(study, "SEG") == []
    lines = words(there["on_problem"]["OT held"])
    assert {"Outcome HELD: not sent before a person has looked at it", "Bright found, held"} <= set(lines)
    assert f"! {jobs['on_problem']['reason']}" in lines
    release(node, jobs)
    orthanc.wait_for(3, study_uid=study, modality="SEG")
    orthanc.wait_for(4, study_uid=study, modality="OT")
    there = arrived(orthanc, study)
    with_receipt = ["OT", "OT held", "SEG"]
    assert kinds(there) == {"always": with_receipt, "on_problem": with_receipt, "never": ["SEG"]}
    results = [ds for objects in there.values() for name, ds in objects.items() if name != "OT held"]
    assert all("[1 of 2] [!]" in ds.SeriesDescription for ds in results)
    lines = words(there["on_problem"]["OT"])
    assert "Brighter NOT FOUND" in lines
    assert "! held for a person to look at before it was sent" in lines


def test_held_and_empty(node: NodeProcess, orthanc: Orthanc) -> None:
    study, jobs = STUDIES["held-empty"], jobs_of(node, "held-empty")
    assert states(jobs) == dict.fromkeys(WISHES, "held")
    assert kinds(arrived(orthanc, study)) == {"always": ["OT held"], "on_problem": ["OT held"], "never": []}
    release(node, jobs)
    orthanc.wait_for(4, study_uid=study, modality="OT")
    with_receipt = ["OT", "OT held"]
    assert kinds(arrived(orthanc, study)) == {"always": with_receipt, "on_problem": with_receipt, "never": []}
    mine = {job["id"] for job in jobs.values()}

    def settled() -> dict[str, str]:
        after = {job["rule"].rpartition(" ")[2]: job["state"] for job in node.jobs() if job["id"] in mine}
        return after if not set(after.values()) & {"held", "delivering"} else {}

    assert node.wait(settled, what="released") == {"always": "delivered", "on_problem": "delivered", "never": "empty"}


def test_held_and_dropped_by_hand(node: NodeProcess, orthanc: Orthanc) -> None:
    jobs = jobs_of(node, "held-dropped")
    assert states(jobs) == dict.fromkeys(WISHES, "held")
    for job in jobs.values():
        node.cli("jobs", "drop", job["id"])
    assert node.wait_until_idle(10)
    assert states(jobs_of(node, "held-dropped")) == dict.fromkeys(WISHES, "dropped")
    there = arrived(orthanc, STUDIES["held-dropped"])
    assert kinds(there) == {"always": ["OT held"], "on_problem": ["OT held"], "never": []}


def test_what_meets_no_rule_gets_nothing(node: NodeProcess, orthanc: Orthanc) -> None:
    assert {job["state"] for job in jobs_of(node, "stranger").values()} == {"unmatched"}
    assert orthanc.instances(STUDIES["stranger"]) == []


def test_dropped_by_the_rule(node: NodeProcess, orthanc: Orthanc) -> None:
    jobs = jobs_of(node, "dropped")
    assert states(jobs) == dict.fromkeys(WISHES, "dropped")
    there = arrived(orthanc, STUDIES["dropped"])
    assert kinds(there) == {"always": ["OT dropped"], "on_problem": ["OT dropped"], "never": []}
    lines = words(there["on_problem"]["OT dropped"])
    assert {"Bright found, dropped", "Brighter NOT FOUND"} <= set(lines)


def test_failed(node: NodeProcess, orthanc: Orthanc, tmp_path: Path) -> None:
    """Here two accession numbers in one series: the receipt has none, and all else that its instances agree on."""
    jobs = jobs_of(node, "failed")
    assert states(jobs) == dict.fromkeys(WISHES, "failed")
    there = arrived(orthanc, STUDIES["failed"])
    assert kinds(there) == {"always": ["OT failed"], "on_problem": ["OT failed"], "never": []}
    receipt = there["on_problem"]["OT failed"]
    lines = words(receipt)
    assert {"Outcome FAILED: there is no result", "Bright no result"} <= set(lines)
    assert any(line.startswith("! mixed-studies: ") for line in lines)
    assert (receipt.AccessionNumber, receipt.PatientID, receipt.StudyID) == ("", "failed", "1")
    receipt.save_as(tmp_path / "receipt.dcm")
    assert dciodvfy_errors(tmp_path / "receipt.dcm") == []


def test_refused(node: NodeProcess, orthanc: Orthanc, tmp_path: Path) -> None:
    ((rule, job),) = jobs_of(node, "refused").items()
    assert (rule, job["state"]) == ("", "refused")
    assert job["reason"].startswith("coincident-slices: ")
    there = arrived(orthanc, STUDIES["refused"])
    assert kinds(there) == {"always": ["OT refused"], "on_problem": ["OT refused"], "never": []}
    receipt = there["on_problem"]["OT refused"]
    lines = words(receipt)
    assert {"Images 7 CT", "Bright not searched", "Brighter not searched", f"! {job['reason']}"} <= set(lines)
    assert any(line.startswith("Outcome REFUSED") for line in lines)
    assert receipt.ReferencedSeriesSequence[0].SeriesInstanceUID == SERIES["refused"]
    receipt.save_as(tmp_path / "receipt.dcm")
    assert dciodvfy_errors(tmp_path / "receipt.dcm") == []
    (shown,) = [json.loads(node.cli("jobs", "show", job["id"], "--json").stdout)]
    assert len(shown["notices"]) == len(shown["deliveries"]) == 2
    assert {row["state"] for row in shown["deliveries"]} == {"delivered"}


def test_two_patients_get_no_object_only_a_job_that_says_why(node: NodeProcess, orthanc: Orthanc) -> None:
    ((rule, job),) = jobs_of(node, "mixed").items()
    assert (rule, job["state"]) == ("", "refused")
    assert job["reason"].startswith("mixed-patients: ")
    assert orthanc.instances(STUDIES["mixed"]) == []
    assert "nobody knows whose it would be" in node.log()


def test_receipts_that_come_back_start_nothing(node: NodeProcess, orthanc: Orthanc, tmp_path: Path) -> None:
    before, files = node.jobs(), []
    for number, instance in enumerate(orthanc.instances(STUDIES["refused"], "OT")):
        files.append(tmp_path / f"{number}.dcm")
        files[-1].write_bytes(orthanc.download(instance))
    assert len(files) == 2
    storescu(files, node.port)
    time.sleep(2.5)  # more than `receive.quiet_s`
    assert node.wait_until_idle(10)
    assert node.jobs() == before


def test_a_study_of_which_all_is_refused_told_by_a_report(orthanc: Orthanc, tmp_path: Path) -> None:
    """A rule of scope study chooses nothing: its receipt says so, as Basic Text SR, which starts nothing either."""
    files = with_a_bright_block(write_ct(tmp_path / "s", patient_id="study", slices=6, rows=24, columns=24))
    study = str(pydicom.dcmread(files[0]).StudyInstanceUID)
    files.remove(files[3])  # a gap
    rule = {"name": "organs", "scope": "study", "when": {"Modality": "CT"}, "prompts": [BRIGHT], "send_to": ["pacs"]}
    rule["receipt_as"] = "sr"
    settings = {"quiet_s": 0.5, "incomplete_s": 1}
    with NodeProcess(tmp_path, peers={"pacs": orthanc.dimse_settings}, rules=[rule], receive=settings) as running:
        storescu(files, running.port)
        (instance,) = orthanc.wait_for(1, study_uid=study, modality="SR", settle_s=3)
        (tmp_path / "receipt.dcm").write_bytes(orthanc.download(instance))
        report = pydicom.dcmread(tmp_path / "receipt.dcm")
        assert report.SOPClassUID.name == "Basic Text SR Storage"
        assert "AI RESEARCH organs receipt [refused]" in report.SeriesDescription
        said = [item.TextValue for item in report.ContentSequence[-3].ContentSequence]
        assert said[0].startswith("REFUSED: ")
        assert said[1].startswith("missing-slice: ")
        assert dciodvfy_errors(tmp_path / "receipt.dcm") == []
        before = running.jobs()
        storescu([tmp_path / "receipt.dcm"], running.port)
        time.sleep(1.5)  # more than `receive.quiet_s`
        assert running.wait_until_idle(10)
        assert running.jobs() == before
        assert len(orthanc.instances(study)) == 1

"""minimum_confidence and `empty`: what is left out, reported or held, and that it is always said."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pydicom
import pytest

from tests.encode import made
from voxtell_dicom.archive.archive import Archive
from voxtell_dicom.archive.database import open_database
from voxtell_dicom.check import gates
from voxtell_dicom.check.selfcheck import Finding, self_check
from voxtell_dicom.config import Config, Receive, Rule
from voxtell_dicom.errors import VoxtellDicomError
from voxtell_dicom.jobs.book import JobBook, NewJob
from voxtell_dicom.jobs.records import Job
from voxtell_dicom.line.load import headers_of
from voxtell_dicom.line.masks import save_findings, save_found
from voxtell_dicom.line.plan import plan_for
from voxtell_dicom.model import Found, Outcome, Plan, PlanOptions, Result, Volume
from voxtell_dicom.receive.arrival import Sender, read_arrival
from voxtell_dicom.rules import match_volume
from voxtell_dicom.workers.pool import WorkerPool
from voxtell_dicom.workflow.deliver import send
from voxtell_dicom.workflow.messages import NotifyMessage
from voxtell_dicom.workflow.notices import notices_due
from voxtell_dicom.workflow.publish import publish_plan
from voxtell_dicom.workflow.retention import Retention
from voxtell_dicom.workflow.runtime import Runtime

TEXTS = ("cyst", "nodule", "lesion")
Given = Sequence[float | None]  # mean probability of each prompt's mask, None where it found nothing


@dataclass
class Site:
    """One job between `segment` and `publish`."""

    runtime: Runtime
    volume: Volume
    plan: Plan
    own: list[str]

    def publish(self, given: Given, *more: Finding, version: str = "v") -> Job:
        """Publish masks of these mean probabilities; the job afterwards."""
        found = found_of(self.plan, self.volume, given)
        uids = (self.volume.study_uid, self.volume.series_uid, version)
        self.runtime.jobs.open(NewJob("j", "queued", *uids, plan=self.plan, volume=self.volume))
        save_found(self.runtime.masks("j"), found)
        save_findings(self.runtime.masks("j"), [*self_check(found, self.volume), *more])
        self.sent = publish_plan(self.runtime, "j")
        job = self.runtime.jobs.get("j")
        assert job is not None
        return job

    def arrive(self) -> Job:
        """Every object has reached the peer; the job afterwards."""
        for item in self.sent:
            for uid in item.uids:
                self.runtime.jobs.record_delivery("j", uid, item.peer, 1, Outcome("delivered", "0000"))
        self.runtime.jobs.settle("j")
        job = self.runtime.jobs.get("j")
        assert job is not None
        return job


def receipt_of(site: Site) -> Result:
    """The receipt of the job."""
    (result,) = site.runtime.jobs.notices("j")
    return result


def found_of(plan: Plan, volume: Volume, given: Given) -> list[Found]:
    arrays = [np.zeros(volume.grid.shape, bool) for _ in given]
    for number, (array, mean) in enumerate(zip(arrays, given, strict=True)):
        array[2:4, 3 + number : 9 + number, 3:9] = mean is not None
    pairs = zip(made.found(plan, arrays), given, strict=True)
    return [
        replace(item, mean_probability=mean, uncertain_share=None if mean is None else 0.25) for item, mean in pairs
    ]


class FakeArchive:
    """Of the archive, what encoding needs."""

    def __init__(self, own: list[str]) -> None:
        self.remember_own = own.extend
        self.now = time.time

    def study(self, study_uid: str) -> list[Any]:
        return []

    def series(self, series_uid: str) -> None:
        return None

    def current_version(self, series_uid: str) -> str:
        return "v"


def site_of(folder: Path, incomplete: str = "", **rule: Any) -> Site:
    settings = {"name": "abdomen", "when": {"Modality": "CT"}, "prompts": list(TEXTS), "send_to": ["pacs"], **rule}
    config = Config.model_validate(
        {
            "version": 1,
            "node": {"storage": folder},
            "model": {"engine": "phantom"},
            "peers": {"pacs": {"folder": folder / "pacs"}},
            "rules": [settings],
        }
    )
    volume = made.volume(folder / "series")
    (match,) = match_volume(config.rules, volume, headers_of(volume), {"instances": 6})
    plan = plan_for(match, volume, "phantom 1", "1", PlanOptions(incomplete=incomplete))
    own: list[str] = []
    jobs = JobBook(open_database(config))
    return Site(Runtime(config, jobs, cast(WorkerPool, None), FakeArchive(own)), volume, plan, own)


def description(job: Job, kind: str = "seg") -> str:
    (result,) = [result for result in job.results if result.kind == kind]
    return str(pydicom.dcmread(result.path, stop_before_pixels=True).SeriesDescription)


def comments(job: Job) -> str:
    (result,) = [result for result in job.results if result.kind == "receipt"]
    return str(pydicom.dcmread(result.path, stop_before_pixels=True).ImageComments)


def test_a_segment_of_low_confidence_is_left_out_and_named(tmp_path: Path) -> None:
    site = site_of(tmp_path, minimum_confidence=0.6, receipt="on_problem", outputs=["seg", "sr", "rtstruct"])
    job = site.publish([0.9, 0.41, None])
    said = "Nodule: left out, low confidence: mean probability 0.41 is below 0.6"
    assert said in job.warnings
    assert job.empty == ("Lesion",)
    assert job.state == "delivering"
    assert {result.kind for result in job.results} == {"seg", "sr", "rtstruct", "receipt"}
    for result in job.results:
        assert result.labels == ("Cyst",)
        assert result.empty == ("Lesion",)
        assert "[1 of 3] [!]" in description(job, result.kind)
        ds = pydicom.dcmread(result.path)
        assert made.dciodvfy(Path(result.path)) == []
        if result.kind != "receipt":  # every object names what it does not hold
            assert ds.CommentsOnThePerformedProcedureStep == f"NOT FOUND: Lesion\r\n{said}"
    (seg,) = [result for result in job.results if result.kind == "seg"]
    ds = pydicom.dcmread(seg.path)
    (segment,) = ds.SegmentSequence
    said = "confidence high (mean probability 0.90; 25 % of its voxels uncertain)"
    assert segment.SegmentDescription == f"cyst\r\n{said}"
    assert "Nodule  LEFT OUT, low confidence: mean probability 0.41 is below 0.6" in comments(job)
    assert "Lesion  NOT FOUND" in comments(job)
    (encode,) = [row for row in job.timeline if row.stage == "encode"]
    assert encode.detail == "Cyst 0.90, 25% uncertain; Nodule 0.41, 25% uncertain (left out)"
    assert site.arrive().sentence == ""


def test_without_a_minimum_nothing_is_left_out(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    job = site.publish([0.9, 0.01, 0.3])
    assert job.warnings == ()
    assert description(job).startswith("AI RESEARCH abdomen SEG [3 of 3] TEST")


def test_the_minimum_decides_the_uid(tmp_path: Path) -> None:
    keys = {site_of(tmp_path / str(least), minimum_confidence=least).plan.key for least in (0, 0.5, 0.6)}
    assert len(keys) == 3
    assert site_of(tmp_path / "none").plan.options.minimum_confidence is None


def test_an_engine_without_probabilities_is_let_through() -> None:
    plan = made.plan(["> 300"], options=PlanOptions(minimum_confidence=0.9))
    found = [replace(made.found(plan, [np.ones((2, 2, 2), bool)])[0], mean_probability=None)]
    assert gates.leave_out(plan, found) == tuple(found)


@pytest.mark.parametrize(
    ("mean", "words"), [(0.5, ""), (0.4999, "0.4999 is below 0.5"), (0.499, "0.499 is"), (0.2, "0.20 is below 0.5")]
)
def test_at_the_edge(mean: float, words: str) -> None:
    plan = made.plan(["liver"], options=PlanOptions(minimum_confidence=0.5))
    found = [replace(made.found(plan, [np.ones((2, 2, 2), bool)])[0], mean_probability=mean)]
    (item,) = gates.leave_out(plan, found)
    assert words in item.left_out
    assert bool(item.left_out) == bool(words) == (not item.mask.voxels)


def test_what_is_left_out_holds_nothing(tmp_path: Path) -> None:
    side = Finding("laterality", "Nodule", "Nodule: on the wrong side")
    assert site_of(tmp_path / "a").publish([0.9, 0.41, 0.9], side).state == "held"
    assert site_of(tmp_path / "b", minimum_confidence=0.6).publish([0.9, 0.41, 0.9], side).state == "delivering"


@pytest.mark.parametrize(
    ("empty", "receipt", "given", "state", "kinds"),
    [
        ("omit", "never", (0.9, None, 0.9), "delivering", ["seg"]),
        ("omit", "never", (None, None, None), "empty", []),
        ("omit", "on_problem", (None, None, None), "delivering", ["receipt"]),
        ("report", "never", (0.9, 0.9, 0.9), "delivering", ["seg"]),
        ("report", "never", (0.9, None, 0.9), "delivering", ["seg", "receipt"]),
        ("report", "never", (0.9, 0.1, 0.9), "delivering", ["seg"]),  # left out is not empty
        ("report", "never", (None, None, None), "delivering", ["receipt"]),
        ("hold", "never", (0.9, 0.9, 0.9), "delivering", ["seg"]),
        ("hold", "never", (0.9, 0.1, 0.9), "delivering", ["seg"]),
        ("hold", "never", (0.9, None, 0.9), "held", ["seg"]),
        ("hold", "always", (0.9, None, 0.9), "held", ["seg", "receipt"]),
        ("hold", "never", (None, None, None), "held", []),
    ],
)
def test_empty(tmp_path: Path, empty: str, receipt: str, given: Given, state: str, kinds: list[str]) -> None:
    site = site_of(tmp_path, empty=empty, receipt=receipt, minimum_confidence=0.5)
    job = site.publish(given)
    assert (job.state, [result.kind for result in job.results]) == (state, kinds)
    assert len(site.sent) == (len(kinds) if state == "delivering" else 0)
    assert sorted(site.own) == sorted(uid for r in job.results for uid in (r.sop_instance_uid, r.series_uid))
    if state == "held":
        assert "nothing was found" in job.sentence
        assert any("held" in warning for warning in job.warnings) == bool(kinds)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ((None, None, None), "nothing found"),
        ((0.1, 0.2, 0.3), "nothing shown: every segment was left out for low confidence"),
        ((0.1, None, None), "nothing shown: 2 found nothing, 1 left out for low confidence"),
        ((0.9, None, 0.1), ""),
    ],
)
def test_a_delivered_receipt_says_in_the_job_that_nothing_was_found(tmp_path: Path, given: Given, reason: str) -> None:
    site = site_of(tmp_path / "receipt", receipt="always", minimum_confidence=0.5)
    site.publish(given)
    job = site.arrive()
    assert (job.state, job.sentence) == ("delivered", reason)
    if reason:
        silent = site_of(tmp_path / "silent", receipt="never", minimum_confidence=0.5).publish(given)
        assert (silent.state, silent.sentence) == ("empty", f"{reason}: there is no object to send")


@pytest.mark.parametrize(
    ("mean", "receipt", "state"),
    [(0.9, "never", "held"), (0.9, "on_problem", "held"), (None, "never", "empty"), (None, "on_problem", "delivering")],
)
def test_an_incomplete_series_is_held_where_there_is_a_segment_to_send(
    tmp_path: Path, mean: float | None, receipt: str, state: str
) -> None:
    job = site_of(tmp_path, incomplete="lost link", receipt=receipt).publish([mean] * 3)
    assert job.state == state
    if receipt == "on_problem":
        assert "! the series is incomplete: lost link" in comments(job)
    assert any("held" in warning for warning in job.warnings) == (state == "held")
    assert ("lost link" in job.sentence) == (state == "held")


@pytest.mark.parametrize(("action", "state"), [("deliver", "delivering"), ("hold", "held"), ("drop", "dropped")])
def test_what_becomes_of_an_incomplete_series_is_the_rules_word(tmp_path: Path, action: str, state: str) -> None:
    site = site_of(tmp_path, incomplete="lost link", on_warning={"incomplete": action})
    assert site.publish([0.9] * 3).state == state


NOTICES = [
    # state, reason, the words of the page
    ({"on_warning": {"laterality": "hold"}}, "held", "HELD: not sent before a person has looked at it"),
    ({"on_warning": {"laterality": "drop"}}, "dropped", "DROPPED: the rule does not send such a result"),
]


@pytest.mark.parametrize("receipt", ["always", "on_problem", "never"])
@pytest.mark.parametrize(("rule", "state", "words"), NOTICES)
def test_what_is_held_or_dropped_gets_its_receipt(
    tmp_path: Path, rule: dict[str, Any], state: str, words: str, receipt: str
) -> None:
    site = site_of(tmp_path, receipt=receipt, minimum_confidence=0.5, **rule)
    job = site.publish([0.9, 0.41, None], Finding("laterality", "Cyst", "Cyst: on the wrong side"))
    assert job.state == state
    items = notices_due(site.runtime, NotifyMessage(jobs=("j",)))
    assert len(items) == (0 if receipt == "never" else 1)
    for item in items:
        assert (item.notice, item.peer) == (True, "pacs")
        assert item.uids[0] in site.own
        page = pydicom.dcmread(receipt_of(site).path)
        assert page.SeriesDescription == f"AI RESEARCH abdomen receipt [{state}] TEST - NOT FOR PATIENTS"
        assert page.PatientID == "P1"
        lines = [" ".join(line.split()) for line in page.ImageComments.splitlines()]
        assert {f"Outcome {words}", f"Cyst found, {state}", "Nodule LEFT OUT", "Lesion NOT FOUND"} <= set(lines)
        assert any(line.startswith("!") and "Cyst: on the wrong side" in line for line in lines)
        assert sum("Nodule: left out, low confidence" in line for line in lines) == 1
        assert made.dciodvfy(receipt_of(site).path) == []
        assert item.uids[0] not in {each.sop_instance_uid for each in job.results}
        # the state of the job stays what it is, and nothing is told twice
        assert send(site.runtime, item) == "delivered"
    assert site.runtime.jobs.state("j") == state
    assert notices_due(site.runtime, NotifyMessage(jobs=("j",))) == []


@pytest.mark.parametrize(
    ("kind", "kinds"), [("edge", ["seg"]), ("volume", ["seg", "receipt"]), ("laterality", ["seg", "receipt"])]
)
def test_what_most_scans_have_is_no_problem(tmp_path: Path, kind: str, kinds: list[str]) -> None:
    site = site_of(tmp_path, on_warning={"laterality": "deliver"})
    job = site.publish([0.9, 0.9, 0.9], Finding(kind, "Cyst", "Cyst: there is something about it"))
    assert [result.kind for result in job.results] == kinds
    assert "[!]" in description(job)


def test_a_job_that_failed_gets_its_receipt(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    site.publish([0.9, 0.9, 0.9])
    site.runtime.fail(["j"], KeyError("Doe^Jane"))
    (item,) = notices_due(site.runtime, NotifyMessage(jobs=("j",)))
    page = pydicom.dcmread(receipt_of(site).path)
    lines = [" ".join(line.split()) for line in page.ImageComments.splitlines()]
    assert {"Outcome FAILED: there is no result", "Cyst no result", "! unexpected KeyError: see job j"} <= set(lines)
    assert "Doe" not in page.ImageComments
    site.runtime.jobs.reopen("j", "queued")  # `jobs retry`
    assert notices_due(site.runtime, NotifyMessage(jobs=("j",))) == []
    site.runtime.fail(["j"], KeyError("Doe^Jane"))  # the same again: the same page
    (again,) = notices_due(site.runtime, NotifyMessage(jobs=("j",)))
    assert again.uids == item.uids


def test_nobodys_receipt_is_not_made(tmp_path: Path) -> None:
    """Two names in one series: nobody knows whose page it would be. Two accession numbers: it has none."""
    for keyword, count in (("PatientName", 0), ("AccessionNumber", 1)):
        site = site_of(tmp_path / keyword)
        path = site.volume.frames[3].path
        ds = pydicom.dcmread(path)
        setattr(ds, keyword, "Other")
        ds.save_as(path)
        assert site.publish([0.9, 0.9, 0.9]).state == "failed"
        items = notices_due(site.runtime, NotifyMessage(jobs=("j",)))
        assert len(items) == count
        for _ in items:
            page = pydicom.dcmread(receipt_of(site).path)
            assert (page.AccessionNumber, page.PatientID, str(page.PatientName)) == ("", "P1", "Doe^Jane")
            assert made.dciodvfy(receipt_of(site).path) == []


def test_retention_waits_for_the_receipt(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    site.publish([0.9, 0.9, 0.9])
    site.runtime.fail(["j"], VoxtellDicomError("broken"))
    (item,) = notices_due(site.runtime, NotifyMessage(jobs=("j",)))
    site.runtime.jobs.reopen("j", "refused", "of age")
    assert [peer for _, peer in site.runtime.jobs.untold("j")] == ["pacs"]
    outcome = Outcome("delivered", "0000")
    site.runtime.jobs.record_delivery("j", item.uids[0], "pacs", 1, outcome)
    assert site.runtime.jobs.untold("j") == []
    assert [each.sop_instance_uid for each in site.runtime.jobs.notices("j")] == list(item.uids)


def test_retention_keeps_what_is_held(tmp_path: Path) -> None:
    site = site_of(tmp_path, empty="hold", receipt="always")
    archive = Archive(tmp_path / "spool", open_database(site.runtime.config), Receive())
    for frame in site.volume.frames:
        data = frame.path.read_bytes()
        meta = pydicom.filereader.read_file_meta_info(frame.path)
        dataset = data[132 + 12 + int(meta.FileMetaInformationGroupLength) :]
        archive.store(read_arrival(dataset, str(meta.TransferSyntaxUID)), Sender("a", "CT1", "VOXTELL", time.time()))
    job = site.publish([0.9, None, 0.9], version=archive.current_version(site.volume.series_uid))
    results = [Path(result.path) for result in job.results]
    assert (job.state, len(results)) == ("held", 2)
    retention = Retention(site.runtime.config, site.runtime.jobs, archive)
    assert retention.sweep(time.time() + 1e8) == []
    assert all(path.exists() for path in results)
    site.runtime.jobs.reopen("j", "dropped", "dropped by hand")
    assert retention.sweep(time.time() + 1e8) == [site.volume.series_uid]
    assert not any(path.exists() for path in results)


def test_the_rule_says_it_in_words_that_are_checked() -> None:
    rule = {"name": "r", "when": {"Modality": "CT"}, "prompts": ["liver"]}
    assert Rule.model_validate(rule).empty == "omit"
    with pytest.raises(ValueError, match="less than 1"):
        Rule.model_validate({**rule, "minimum_confidence": 1})

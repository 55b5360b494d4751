"""The look at a study: when it is put off, what it chooses, and what becomes of earlier choices."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pydicom
import pytest

from tests.system.made_study import STUDY_RULE, series_uid, write_one
from voxtell_dicom.archive.archive import Archive
from voxtell_dicom.archive.database import open_database
from voxtell_dicom.config import Config
from voxtell_dicom.errors import ModelError
from voxtell_dicom.jobs.book import JobBook
from voxtell_dicom.model import Outcome, PlanOptions, Result
from voxtell_dicom.phantom.writer import uid
from voxtell_dicom.receive.arrival import Sender, read_arrival
from voxtell_dicom.workers.pool import WorkerPool
from voxtell_dicom.workflow.messages import StudyMessage
from voxtell_dicom.workflow.process import process_series
from voxtell_dicom.workflow.retention import Retention
from voxtell_dicom.workflow.runtime import Runtime
from voxtell_dicom.workflow.study import look_at_study, look_input

QUIET_S = 0.05
SEED = 34
STUDY = uid(SEED, "study")
SERIES_RULE = {"name": "each", "when": {"Modality": "CT"}, "prompts": ["> 200"]}


class Engine:
    """Of the pool of workers, what a look needs."""

    broken = False

    def identity(self) -> str:
        if self.broken:
            raise ModelError("no worker starts")
        return "threshold 1"


@dataclass
class Site:
    """An archive, a job book and node.yaml, without the durable engine."""

    folder: Path
    config: Config

    def __post_init__(self) -> None:
        self.engine = Engine()
        engine = open_database(self.config)
        self.jobs = JobBook(engine)
        self.archive = Archive(self.folder / "spool", engine, self.config.receive)
        self.runtime = Runtime(self.config, self.jobs, cast(WorkerPool, self.engine), self.archive)

    def receive(self, files: Sequence[Path], *, incomplete: str = "") -> str:
        """A series arrives, is complete, and goes through `process`. Returns its UID."""
        name = self.store(files)
        series = self.archive.series(name)
        assert series
        series = replace(series, incomplete=incomplete)
        self.jobs.record_series(series)
        process_series(self.runtime, series)
        assert self.archive.hand_over(series, lambda _connection, _series: None)
        return name

    def store(self, files: Sequence[Path]) -> str:
        """A series arrives."""
        for path in files:
            data = path.read_bytes()
            meta = pydicom.filereader.read_file_meta_info(path)
            start = 132 + 12 + int(meta.FileMetaInformationGroupLength)
            sender = Sender("association", "CT1", "VOXTELL", opened=time.time())
            self.archive.store(read_arrival(data[start:], str(meta.TransferSyntaxUID)), sender)
        return series_uid(files)

    def look(self, data: dict[str, Any] | None = None, *, in_process: bool = False) -> dict[str, Any]:
        """Look at the study, as DBOS would have it done: input and output are JSON."""
        time.sleep(2 * QUIET_S)
        data = json.loads(json.dumps(data or look_input(self.runtime, STUDY).written()))
        look = look_at_study(self.runtime, StudyMessage.read(data), lambda _: in_process)
        return json.loads(json.dumps(look.written()))  # type: ignore[no-any-return]

    def states(self, *uids: str) -> list[list[str]]:
        """The states of the jobs of each series, oldest first."""
        return [[job.state for job in self.jobs.find(series_uid=each)][::-1] for each in uids]


@pytest.fixture
def site(tmp_path: Path) -> Callable[..., Site]:
    def make(*rules: dict[str, Any]) -> Site:
        config = {
            "version": 1,
            "node": {"storage": tmp_path / "node"},
            "receive": {"quiet_s": QUIET_S, "min_free_percent": 0},
            "model": {"engine": "threshold"},
            "peers": {"pacs": {"folder": tmp_path / "out"}},
            "rules": list(rules or [STUDY_RULE]),
        }
        return Site(tmp_path, Config.model_validate(config))

    return make


@pytest.fixture(scope="module")
def thick(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_one(tmp_path_factory.mktemp("thick"), SEED, 2, 16)


@pytest.fixture(scope="module")
def thin(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_one(tmp_path_factory.mktemp("thin"), SEED, 3, 8)


@pytest.fixture(scope="module")
def sharp(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_one(tmp_path_factory.mktemp("sharp"), SEED, 4, 8, kernel="Br64d")


def chosen(site: Site, look: dict[str, Any]) -> list[str]:
    return [site.jobs.plan(item["jobs"][0])[1].series_uid for item in look["segment"]]


def deliver(site: Site, job_id: str) -> str:
    """As if the job had made a result that reached the PACS. Returns the result's SOP Instance UID."""
    result = Result("seg", f"2.25.{int(job_id, 16)}", "1.2", "2.25.2", "1.2.3", site.folder / "x.dcm", "d", ("a",))
    site.jobs.record_results(job_id, [result], [], [])
    for state in ("segmenting", "encoding", "delivering"):
        site.jobs.advance(job_id, state)
    site.jobs.record_delivery(job_id, result.sop_instance_uid, "pacs", 1, Outcome("delivered", "0000"))
    site.jobs.settle(job_id)
    return result.sop_instance_uid


def test_one_volume_is_chosen_and_the_others_say_why_not(
    site: Callable[..., Site], thick: list[Path], thin: list[Path], sharp: list[Path]
) -> None:
    here = site()
    uids = [here.receive(files) for files in (thick, thin, sharp)]
    assert here.states(*uids) == [["waiting"]] * 3
    look = here.look()
    assert chosen(here, look) == [uids[1]]
    assert look["next"] is None
    assert here.states(*uids) == [["unmatched"], ["queued"], ["unmatched"]]
    (lost,) = here.jobs.find(series_uid=uids[2])
    assert lost.sentence == "lost: bright: does not meet volume.kernel"


def test_a_look_is_put_off_while_a_series_is_on_its_way(
    site: Callable[..., Site], thick: list[Path], thin: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = site()
    name = here.receive(thick)
    data = look_input(here.runtime, STUDY).written()
    arrived = max(each.last_arrived for each in here.archive.summaries())
    with monkeypatch.context() as clock:  # however long it took until here
        clock.setattr(here.archive, "now", lambda: arrived)
        at_once = look_at_study(here.runtime, StudyMessage.read(data), lambda _: False).written()
    assert at_once["next"] == {**data, "attempt": 1}
    assert 0 < at_once["delay_s"] <= QUIET_S
    assert here.look(in_process=True)["next"] == {**data, "attempt": 1}

    here.store(thin)  # not complete yet
    both = look_input(here.runtime, STUDY).written()
    changed = here.look(data)
    assert changed["next"] == both != data
    put_off = here.look(both)
    assert put_off["next"] == {**both, "attempt": 1}
    assert not put_off["segment"]
    assert here.states(name) == [["waiting"]]
    here.receive(thin)
    assert chosen(here, here.look(put_off["next"])) == [series_uid(thin)]


def test_a_wall_clock_that_is_set_back_puts_no_look_off(
    site: Callable[..., Site], thick: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = site()
    here.receive(thick)
    arrived = max(each.last_arrived for each in here.archive.summaries())
    monkeypatch.setattr(time, "time", lambda: arrived - 3600)
    look = here.look()
    assert look["next"] is None
    assert chosen(here, look) == [series_uid(thick)]


def test_a_study_that_is_gone_is_not_looked_at(site: Callable[..., Site], thick: list[Path]) -> None:
    here = site()
    data = look_input(here.runtime, STUDY).written()
    assert here.look(data) == {"v": 2, "segment": [], "next": None, "delay_s": 0}


def test_the_same_choice_in_a_newer_state_makes_nothing_new(
    site: Callable[..., Site], thin: list[Path], sharp: list[Path]
) -> None:
    here = site()
    name = here.receive(thin)
    (item,) = here.look()["segment"]
    deliver(here, item["jobs"][0])
    other = here.receive(sharp)
    assert here.look()["segment"] == []
    assert here.states(name, other) == [["delivered"], ["unmatched"]]
    assert list((here.runtime.work_dir / "study").iterdir()) == []  # the array that nobody needs is gone


def test_another_choice_cancels_what_is_not_delivered(
    site: Callable[..., Site], thick: list[Path], thin: list[Path]
) -> None:
    here = site()
    old, new = here.receive(thick), ""
    assert chosen(here, here.look()) == [old]
    new = here.receive(thin)
    assert chosen(here, here.look()) == [new]
    assert here.states(old, new) == [["cancelled"], ["queued"]]


def test_another_choice_names_the_delivered_one(site: Callable[..., Site], thick: list[Path], thin: list[Path]) -> None:
    here = site()
    here.receive(thick)
    (item,) = here.look()["segment"]
    result = deliver(here, item["jobs"][0])
    here.receive(thin)
    (item,) = here.look()["segment"]
    plan = here.jobs.plan(item["jobs"][0])[0]
    assert plan.options == PlanOptions(version=2, supersedes=(result,))
    assert here.jobs.find(series_uid=series_uid(thin))[0].supersedes == (result,)


def test_a_better_choice_stands_although_its_series_was_dropped(
    site: Callable[..., Site], thick: list[Path], thin: list[Path]
) -> None:
    here = site()
    early = here.receive(thin)
    (item,) = here.look()["segment"]
    deliver(here, item["jobs"][0])
    assert here.archive.drop(early)
    late = here.receive(thick)
    assert here.look()["segment"] == []
    (lost,) = here.jobs.find(series_uid=late)
    assert lost.state == "unmatched"
    assert f"chosen before, of series {early}, is as good" in lost.sentence


def test_what_cannot_be_decoded_is_refused_and_the_next_best_taken(
    site: Callable[..., Site], thick: list[Path], tmp_path: Path
) -> None:
    broken = write_one(tmp_path / "broken", SEED, 3, 8)
    ds = pydicom.dcmread(broken[5])
    ds.PixelData = ds.PixelData[:100]
    ds.save_as(broken[5])
    here = site()
    good, bad = here.receive(thick), here.receive(broken)
    assert chosen(here, here.look()) == [good]
    assert sorted(here.states(bad)[0]) == ["refused", "unmatched"]


def test_what_was_missing_when_the_series_was_handed_on_is_in_the_plan(
    site: Callable[..., Site], thin: list[Path]
) -> None:
    here = site()
    here.receive(thin, incomplete="a lost link")
    (item,) = here.look()["segment"]
    assert here.jobs.plan(item["jobs"][0])[0].options == PlanOptions(incomplete="a lost link")


def test_rules_of_both_scopes(site: Callable[..., Site], thick: list[Path], thin: list[Path]) -> None:
    here = site(SERIES_RULE, STUDY_RULE)
    uids = here.receive(thick), here.receive(thin)
    assert [sorted(states) for states in here.states(*uids)] == [["queued", "waiting"]] * 2
    (item,) = here.look()["segment"]
    (job,) = item["jobs"]
    plan = here.jobs.plan(job)[0]
    assert (plan.rule, plan.rule_index) == ("bright", 1)
    assert here.states(*uids) == [["queued"], ["queued", "queued"]]


def test_two_rules_that_choose_one_volume_share_a_pass(site: Callable[..., Site], thin: list[Path]) -> None:
    here = site(STUDY_RULE, {**STUDY_RULE, "name": "brighter", "prompts": ["> 500"]})
    here.receive(thin)
    (item,) = here.look()["segment"]
    assert [here.jobs.plan(job)[0].rule for job in item["jobs"]] == ["bright", "brighter"]
    assert len(item["jobs"]) == 2


def test_retention_keeps_a_series_that_waits_for_its_study(
    site: Callable[..., Site], thick: list[Path], thin: list[Path]
) -> None:
    here = site()
    lost, won = here.receive(thick), here.receive(thin)
    retention = Retention(here.config, here.jobs, here.archive)
    much_later = time.time() + 1e7
    assert retention.sweep(much_later) == []
    (item,) = here.look()["segment"]
    assert retention.sweep(much_later) == [lost]
    deliver(here, item["jobs"][0])
    assert retention.sweep(much_later) == [won]


def test_a_look_that_fails_says_so_in_the_book(site: Callable[..., Site], thin: list[Path]) -> None:
    here = site()
    name = here.receive(thin)
    here.engine.broken = True
    assert here.look()["segment"] == []
    (job,) = here.jobs.find(series_uid=name)
    assert (job.state, "no worker starts" in job.sentence) == ("failed", True)


def test_a_newer_version_of_the_chosen_series(site: Callable[..., Site], thin: list[Path]) -> None:
    here = site()
    name = here.receive(thin[:-1])
    (first,) = here.look()["segment"]
    assert here.receive(thin) == name
    (second,) = here.look()["segment"]
    assert first["jobs"] != second["jobs"]
    assert here.jobs.state(first["jobs"][0]) == "cancelled"
    assert here.jobs.plan(second["jobs"][0])[1].grid.shape[0] == len(thin)

"""`max_minutes`: how long a pass may take, what is said when it took longer, and what happens when memory was short."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from tests.workflow.test_requests import VOLUME, plan
from voxtell_dicom.config import Rule
from voxtell_dicom.errors import Refusal
from voxtell_dicom.line.limit import Limit, limit_of
from voxtell_dicom.line.masks import Answer, save_answers
from voxtell_dicom.line.plan import Planned
from voxtell_dicom.line.segment import Segmented, WorkCancelled, request_for, segment_volume
from voxtell_dicom.model import Mask, Plan, Prompt
from voxtell_dicom.workers.pool import Worker, WorkerRefused
from voxtell_dicom.workflow import segment
from voxtell_dicom.workflow.runtime import Runtime

LIVER = Prompt("liver", "Liver")
Play = Callable[[dict[str, Any], Future[dict[str, Any]]], None]


def rule(name: str, max_minutes: float) -> Rule:
    return Rule(name=name, when={"Modality": "CT"}, prompts=["liver"], max_minutes=max_minutes)


class Played:
    """A worker whose answers are played by a function of what it is asked."""

    def __init__(self, *plays: Play) -> None:
        self.plays = list(plays)
        self.asked: list[dict[str, Any]] = []
        self.stopped = False

    def submit(self, op: str, **fields: Any) -> tuple[str, Future[dict[str, Any]]]:
        assert op == "segment"
        future: Future[dict[str, Any]] = Future()
        self.asked.append(fields)
        self.plays.pop(0)(fields, future)
        return "1", future

    def stop(self, timeout_s: float = 5) -> None:
        self.stopped = True


def planned(folder: Path, *plans: Plan) -> Planned:
    np.save(folder / "a.npy", np.zeros((3, 4, 5), np.float32))
    return Planned(VOLUME, plans, (folder / "a.npy",))


def never(fields: dict[str, Any], _: Future[dict[str, Any]]) -> None:
    fields["progress"](3, 8)


def short(_: dict[str, Any], future: Future[dict[str, Any]]) -> None:
    future.set_exception(WorkerRefused("cuda:0 ran out of memory", "out-of-memory"))


def done(fields: dict[str, Any], future: Future[dict[str, Any]]) -> None:
    request = request_for(plan("a", LIVER), LIVER)
    save_answers(Path(fields["out"]), [Answer(request, Mask.from_array(np.ones((3, 4, 5), bool)))])
    future.set_result({"run": None})


def test_the_shortest_limit_of_the_rules_holds_and_is_named() -> None:
    rules = [rule("a", 60), rule("b", 5), rule("c", 1)]
    plans = [plan("a", LIVER), plan("b", LIVER)]
    assert limit_of(rules, plans) == Limit("b", 5)
    assert limit_of([], plans) == Limit("a", 240), "a rule that was taken out of node.yaml"
    assert limit_of(rules, plans).less(290).seconds == 10
    assert limit_of(rules, plans).less(1e9).seconds == 0


def test_a_pass_that_takes_longer_is_stopped_and_says_rule_minutes_and_windows(tmp_path: Path) -> None:
    worker = Played(never)
    began = time.monotonic()
    with pytest.raises(Refusal, match=r"the 0.01 min that rule 'a' allows \(max_minutes\): 3 of 8 windows") as refused:
        segment_volume(
            planned(tmp_path, plan("a", LIVER)),
            cast(Worker, worker),
            out=tmp_path / "out.json",
            limit=Limit("a", 0.01),
            progress=lambda *_: None,
            cancelled=lambda: False,
        )
    assert refused.value.code == "segmentation-timeout"
    assert worker.stopped
    assert time.monotonic() - began < 10
    assert 0 < worker.asked[0]["within_s"] <= 0.6


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment, "MEMORY_PAUSE_S", 0.01)


def run(tmp_path: Path, worker: Played, going: bool = True) -> Segmented:
    class Pool:
        @contextlib.contextmanager
        def borrow(self) -> Iterator[Played]:
            yield worker

    jobs = SimpleNamespace(is_going=lambda _: going, record_stage=lambda *_: None)
    config = SimpleNamespace(rules=[rule("a", 10)])
    runtime = cast(Runtime, SimpleNamespace(jobs=jobs, pool=Pool(), config=config))
    return segment._run_engine(runtime, planned(tmp_path, plan("a", LIVER)), ["job"], tmp_path / "out.json", lambda: 1)


@pytest.mark.usefixtures("quick")
def test_short_memory_is_asked_for_again_within_the_same_minutes(tmp_path: Path) -> None:
    worker = Played(short, done)
    assert run(tmp_path, worker).answers[0][0].mask.voxels == 60
    first, second = (asked["within_s"] for asked in worker.asked)
    assert second < first <= 600


@pytest.mark.usefixtures("quick")
def test_memory_that_stays_short_fails_the_job_with_the_workers_words(tmp_path: Path) -> None:
    worker = Played(short, short, short)
    with pytest.raises(WorkerRefused, match="ran out of memory") as refused:
        run(tmp_path, worker)
    assert refused.value.code == "out-of-memory"
    assert len(worker.asked) == 3


def test_a_cancelled_job_does_not_wait_for_memory(tmp_path: Path) -> None:
    worker = Played(short, done)
    with pytest.raises(WorkCancelled):
        run(tmp_path, worker, going=False)
    assert len(worker.asked) == 1


@pytest.mark.parametrize(
    ("done", "total", "seconds", "said"),
    [
        (0, 30, 5, "0/30 windows"),
        (12, 30, 24, "12/30 windows, about 36 s left"),
        (1, 3, 59.5, "1/3 windows, about 119 s left"),
        (1, 301, 1, "1/301 windows, about 5 min left"),
        (1, 101, 90, "1/101 windows, about 3 h left"),
        (30, 30, 60, "30/30 windows"),
    ],
)
def test_progress_says_how_long_the_rest_will_take(done: int, total: int, seconds: float, said: str) -> None:
    assert segment.progress_in_words(done, total, seconds) == said

"""The objects of one series go to a peer together: each is tried as long as it has to be, and no longer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.workflow.test_jobs import PLAN, RESULT
from voxtell_dicom.archive.database import open_database
from voxtell_dicom.config import Config
from voxtell_dicom.jobs.book import JobBook, NewJob
from voxtell_dicom.jobs.delivery_book import REQUESTED
from voxtell_dicom.model import Outcome, Result
from voxtell_dicom.workflow import deliver
from voxtell_dicom.workflow.messages import deliveries
from voxtell_dicom.workflow.runtime import Runtime

DONE, AGAIN = Outcome("delivered", "0000"), Outcome("retry", "A700")
FAILED, REPLACED = Outcome("failed", "A900"), Outcome("replaced", "0122")
ALL = [replace(RESULT, sop_instance_uid=f"2.25.{n}") for n in (11, 12, 13)]


class Peer:
    """Answers by script and remembers what it was sent. The job and its three objects stand in the book."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        peer = {"ae_title": "PACS", "host": "127.0.0.1", "port": 104}
        settings = {
            "version": 1,
            "node": {"storage": folder},
            "model": {"engine": "threshold"},
            "peers": {"pacs": peer},
        }
        config = Config.model_validate(settings)
        self.book = JobBook(open_database(config))
        self.book.open(NewJob("a1", "delivering", "1", "2", "v", plan=PLAN))
        self.book.record_results("a1", ALL, [], [])
        self.runtime = cast(Runtime, SimpleNamespace(config=config, jobs=self.book))
        self.sent: list[list[str]] = []
        self.answers: dict[str, Outcome] = {}
        monkeypatch.setattr(deliver, "deliver_all", self._deliver_all)

    def _deliver_all(self, results: list[Result], *_: Any, **__: Any) -> list[Outcome]:
        self.sent.append([result.sop_instance_uid for result in results])
        return [self.answers[result.sop_instance_uid] for result in results]

    def send(self, attempt: int, *answers: Outcome) -> str:
        self.answers = {result.sop_instance_uid: answer for result, answer in zip(ALL, answers, strict=True)}
        (item,) = deliveries("a1", ALL, ["pacs"])
        return deliver.send(self.runtime, replace(item, attempt=attempt), lambda *given: cast(Outcome, given[4]))


@pytest.fixture
def peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Peer:
    return Peer(tmp_path, monkeypatch)


def test_only_what_is_to_be_tried_again_is(peer: Peer) -> None:
    assert peer.send(1, DONE, FAILED, AGAIN) == "retry"
    assert peer.send(2, DONE, DONE, AGAIN) == "retry"
    assert peer.send(3, DONE, DONE, DONE) == "failed", "what failed for good waits for a person"
    assert peer.sent == [["2.25.11", "2.25.12", "2.25.13"], ["2.25.13"], ["2.25.13"]]


def test_what_a_person_asks_for_is_sent_again(peer: Peer) -> None:
    assert peer.send(1, DONE, FAILED, DONE) == "failed"
    peer.book.record_delivery("a1", "2.25.12", "pacs", 2, REQUESTED)
    assert peer.send(2, DONE, DONE, DONE) == "delivered"
    assert peer.sent[1] == ["2.25.12"]


@pytest.mark.parametrize(("outcome", "state"), [(REPLACED, "replaced"), (FAILED, "failed"), (DONE, "delivered")])
def test_a_crash_after_the_answers_forgets_none_of_them(peer: Peer, outcome: Outcome, state: str) -> None:
    assert peer.send(1, DONE, outcome, DONE) == state
    assert peer.send(1, AGAIN, AGAIN, AGAIN) == state, "the step is run again, and has nothing left to send"
    assert peer.sent[1] == []

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
FAILED, REFUSED = Outcome("failed", "A900"), Outcome("failed", "0122", refused=True)
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
        return deliver.send(self.runtime, replace(item, attempt=attempt))


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


@pytest.mark.parametrize(("outcome", "state"), [(REFUSED, "re-encode"), (FAILED, "failed"), (DONE, "delivered")])
def test_a_crash_after_the_answers_forgets_none_of_them(peer: Peer, outcome: Outcome, state: str) -> None:
    assert peer.send(1, DONE, outcome, DONE) == state
    assert peer.send(1, AGAIN, AGAIN, AGAIN) == state, "the step is run again, and has nothing left to send"
    assert peer.sent[1] == []


def test_a_refused_object_waits_for_another_encoding_and_delivery_calls_nobody(peer: Peer) -> None:
    assert peer.send(1, DONE, REFUSED, DONE) == "re-encode"
    assert peer.book.state("a1") == "delivering", "the line has not yet decided on it"
    assert peer.book.last_states("a1", "pacs")["2.25.12"] == "re-encode"
    assert peer.send(1, DONE, REFUSED, AGAIN) == "re-encode", "nothing is sent twice"
    assert len(peer.sent[1]) == 0


def test_what_is_to_be_sent_again_goes_before_what_is_to_be_encoded_otherwise(peer: Peer) -> None:
    assert peer.send(1, AGAIN, REFUSED, DONE) == "retry"
    assert peer.send(2, DONE, DONE, DONE) == "re-encode"
    assert peer.sent[1] == ["2.25.11"]
    assert peer.book.last_outcome("a1", "2.25.12", "pacs").status == "0122"


def test_a_refused_report_fails_at_once(peer: Peer) -> None:
    """Only segmentations and receipts have other encodings."""
    report = replace(RESULT, kind="sr", sop_instance_uid="2.25.14")
    peer.book.add_results("a1", [report])
    peer.answers = {report.sop_instance_uid: REFUSED}
    (item,) = deliveries("a1", [report], ["pacs"])
    assert deliver.send(peer.runtime, item) == "failed"

"""The states of a job under any order of stages, attempts and persons, against a real SQLite database."""

from __future__ import annotations

import shutil
import tempfile
import threading
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.workflow.test_jobs import PLAN, RESULT
from voxtell_dicom.archive.database import open_database
from voxtell_dicom.config import Config
from voxtell_dicom.jobs.book import JobBook, NewJob, TransitionRefused
from voxtell_dicom.model import JobState, Outcome, Reason
from voxtell_dicom.model.states import DELIVERY_TRANSITIONS, FINAL, STOPPED, TRANSITIONS

BOOKED = st.sampled_from([state for state in JobState if state != JobState.RECEIVING])


def book_in(folder: Path) -> JobBook:
    config = {"version": 1, "node": {"storage": folder}, "model": {"engine": "threshold"}}
    return JobBook(open_database(Config.model_validate(config)), folder)


class JobStates(RuleBasedStateMachine):
    """One job; `self.state` is what it must be in by the table alone."""

    @initialize(state=BOOKED)
    def open(self, state: JobState) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.book = book_in(self.folder)
        self.state, self.arrived = state, False
        assert self.book.open(NewJob("j", state, "1", "2", "v", plan=PLAN))
        self.book.record_results("j", [RESULT], [], [])

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    @rule(state=BOOKED)
    def open_again(self, state: JobState) -> None:
        assert not self.book.open(NewJob("j", state, "1", "2", "v"))

    @rule(state=BOOKED)
    def stage(self, state: JobState) -> None:
        before = self.state
        allowed = state in TRANSITIONS[before] or state == before
        try:
            moved = self.book.advance("j", state, Reason("text", {"text": "a stage"}))
        except TransitionRefused:
            assert not allowed
            assert before not in FINAL
            return
        assert moved == (allowed and before not in STOPPED)
        if moved:
            self.state = state

    @rule(state=BOOKED)
    def person(self, state: JobState) -> None:
        allowed = state in TRANSITIONS[self.state] or state == self.state
        try:
            self.book.reopen("j", state)
        except TransitionRefused:
            assert not allowed
        else:
            assert allowed
            self.state = state

    @rule(
        peer=st.sampled_from(PLAN.send_to),
        attempt=st.integers(1, 3),
        outcome=st.sampled_from([Outcome(state, "0000") for state in map(str, DELIVERY_TRANSITIONS)]),
    )
    def delivery(self, peer: str, attempt: int, outcome: Outcome) -> None:
        had = self.book.delivered("j", RESULT.sop_instance_uid, peer)
        self.book.record_delivery("j", RESULT.sop_instance_uid, peer, attempt, outcome)
        assert self.book.delivered("j", RESULT.sop_instance_uid, peer) >= had, "what the peer has, it has"
        self.book.settle("j")
        after = self.book.state("j")
        assert after == self.state or (after in TRANSITIONS[self.state] and self.state not in STOPPED)
        assert isinstance(after, JobState)
        self.state = after

    @invariant()
    def the_book_says_so(self) -> None:
        if hasattr(self, "book"):
            job = self.book.get("j")
            assert job is not None
            assert job.state == self.state


TestJobStates = JobStates.TestCase
TestJobStates.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


def test_every_state_can_be_left_or_is_an_end() -> None:
    assert TRANSITIONS.keys() == set(JobState)
    assert all(TRANSITIONS[state] for state in set(JobState) - {JobState.DROPPED, JobState.RECEIVING})


def test_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    """Receipts for four peers, noted by four books (as by four processes): all four stand."""
    book_in(tmp_path).open(NewJob("j", "held", "1", "2", "v", plan=PLAN))
    books = [book_in(tmp_path) for _ in range(4)]
    peers = [f"peer{number}" for number in range(4)]
    threads = [
        threading.Thread(target=book.add_notice, args=("j", RESULT, peer))
        for book, peer in zip(books, peers, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(peer for _, peer in books[0].untold("j")) == peers

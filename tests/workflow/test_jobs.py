"""The job book: idempotent writes, states that late stages must not overwrite, deliveries that decide the state."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from voxtell_dicom.archive.database import open_database
from voxtell_dicom.config import Config
from voxtell_dicom.jobs.book import JobBook, NewJob
from voxtell_dicom.model import Outcome, Plan, Prompt, Result

PLAN = Plan("k" * 64, "abdomen", 0, (Prompt("liver", "Liver"),), ("seg",), ("pacs", "archive"), "engine 1", "1")
RESULT = Result("seg", "2.25.1", "1.2.840.10008.5.1.4.1.1.66.4", "2.25.2", "1.2.3", Path("/tmp/x.dcm"), "d", ("Liver",))


@pytest.fixture
def book(tmp_path: Path) -> JobBook:
    config = Config.model_validate({"version": 1, "node": {"storage": tmp_path}, "model": {"engine": "threshold"}})
    return JobBook(open_database(config))


def open_job(book: JobBook, job_id: str = "a1", version: str = "v1") -> bool:
    return book.open(NewJob(job_id, "queued", "1.2", "1.2.3", version, plan=PLAN))


def delivered(book: JobBook, peer: str, outcome: Outcome, attempt: int = 1) -> str:
    book.record_delivery("a1", RESULT.sop_instance_uid, peer, attempt, outcome)
    book.settle("a1")
    job = book.get("a1")
    assert job is not None
    return job.state


def test_opening_a_job_again_changes_nothing(book: JobBook) -> None:
    assert open_job(book)
    book.advance("a1", "segmenting")
    assert not open_job(book)
    assert book.find()[0].state == "segmenting"


def test_a_cancelled_job_is_not_moved_by_a_late_stage(book: JobBook) -> None:
    open_job(book)
    assert book.advance("a1", "cancelled")
    assert not book.advance("a1", "encoding")
    assert not book.is_going("a1")
    book.reopen("a1", "queued")
    assert book.is_going("a1")


def test_state_follows_the_deliveries_to_all_peers(book: JobBook) -> None:
    open_job(book)
    book.record_results("a1", [RESULT], [], [])
    for state in ("encoding", "delivering"):
        assert book.advance("a1", state)
    assert delivered(book, "pacs", Outcome("delivered", "0000")) == "delivering"
    assert delivered(book, "archive", Outcome("retry", "no connection", "refused")) == "delivering"
    assert delivered(book, "archive", Outcome("failed", "A900", "no"), attempt=2) == "failed"
    assert delivered(book, "archive", Outcome("delivered", "0000"), attempt=3) == "delivered"
    assert book.last_attempt("a1", RESULT.sop_instance_uid, "archive") == 3
    assert book.delivered("a1", RESULT.sop_instance_uid, "pacs")
    assert book.delivered_objects("a1") == [RESULT.sop_instance_uid]


def test_the_same_attempt_twice_is_one_row(book: JobBook) -> None:
    open_job(book)
    book.record_results("a1", [RESULT], [], [])
    for _ in range(2):
        delivered(book, "pacs", Outcome("retry", "A700", "full"))
    job = book.get("a")
    assert job is not None
    assert len(job.deliveries) == 1


def test_find_filters_and_a_prefix_must_be_unique(book: JobBook) -> None:
    open_job(book, "a1")
    open_job(book, "a2", version="v2")
    assert book.get("a") is None
    assert [job.id for job in book.find(series_uid="1.2.3", limit=1)] == ["a2"]
    assert book.find(states=["delivered"]) == []
    assert book.find(study_uid="other") == []


def test_sqlite_runs_in_wal_with_full_synchronous(tmp_path: Path) -> None:
    config = Config.model_validate({"version": 1, "node": {"storage": tmp_path}, "model": {"engine": "threshold"}})
    with open_database(config).connect() as connection:
        assert connection.execute(sa.text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(sa.text("PRAGMA synchronous")).scalar() == 2

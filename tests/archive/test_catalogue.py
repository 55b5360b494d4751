"""Queries of index and job book, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom.dataset import Dataset

from tests.receive.receiving import make_series, make_slice
from tests.receive.sending import encode
from tests.workflow.test_jobs import PLAN, RESULT
from voxtell_dicom.archive import tables
from voxtell_dicom.archive.archive import Archive
from voxtell_dicom.archive.catalogue import Catalogue, SeriesCount
from voxtell_dicom.config import Receive
from voxtell_dicom.jobs.book import JobBook, NewJob
from voxtell_dicom.jobs.figures import JobFigures
from voxtell_dicom.model import Outcome
from voxtell_dicom.receive.arrival import Sender, read_arrival


@pytest.fixture
def archive(engine: sa.Engine, tmp_path: Path) -> Iterator[Archive]:
    opened = Archive(tmp_path / "spool", engine, Receive(min_free_percent=0))
    yield opened
    opened.close()


def store(archive: Archive, ds: Dataset, association: str = "a1") -> None:
    sender = Sender(association, "CT1", "VOXTELL", "127.0.0.1:1", 1000.0)
    archive.store(read_arrival(encode(ds), str(ds.file_meta.TransferSyntaxUID)), sender)


def names(catalogue: Catalogue) -> dict[str, str]:
    return {
        one.series_uid: one.attributes["00100010"]["Value"][0]["Alphabetic"] for one in catalogue.series()
    }  # fmt: skip


def test_attributes_follow_arrival_correction_loss_and_drop(engine: sa.Engine, archive: Archive) -> None:
    catalogue = Catalogue(engine, archive.objects)
    for one in make_series(3, "1.2.3"):
        store(archive, one)
    store(archive, make_slice("1.2.4", 1, PatientName="Roe^Max"), association="a2")
    assert names(catalogue) == {"1.2.3": "Doe^Jane", "1.2.4": "Roe^Max"}
    store(archive, make_slice("1.2.3", 2, PatientName="Doe^Joan"))
    assert names(catalogue)["1.2.3"] == "Doe^Joan"
    with engine.begin() as connection:
        connection.execute(sa.delete(tables.series_attributes))
    assert set(names(catalogue)) == {"1.2.3", "1.2.4"}
    with engine.connect() as connection:
        assert len(connection.execute(sa.select(tables.series_attributes)).all()) == 2
    assert catalogue.counts(["1.2.3", "1.2.9"]) == {"1.2.3": SeriesCount(3, ("1.2.840.10008.5.1.4.1.1.2",))}
    assert [one.sop_uid for one in catalogue.instances("1.2.3.4", "1.2.3")] == ["1.2.3.1", "1.2.3.2", "1.2.3.3"]
    assert [one.sop_uid for one in catalogue.instances("1.2.3.4", "1.2.3", "1.2.3.2")] == ["1.2.3.2"]
    assert catalogue.instances("1.2.3.5") == []
    assert (catalogue.series_of("1.2.4.1"), catalogue.series_of("1.9")) == ("1.2.4", "")
    assert catalogue.totals() == (2, 2, 4)
    assert archive.drop("1.2.3")
    assert set(names(catalogue)) == {"1.2.4"}
    with engine.connect() as connection:
        assert len(connection.execute(sa.select(tables.series_attributes)).all()) == 1


def test_figures_and_results_of_the_job_book(engine: sa.Engine) -> None:
    book = JobBook(engine)
    for number, state in enumerate(("queued", "queued", "delivered", "held")):
        book.open(NewJob(f"a{number}", "queued", "1.2", "1.2.3", "v1", plan=PLAN))
        book.record_results(f"a{number}", [RESULT], [], [])
        for step in () if state == "queued" else ("encoding", "delivering", state):
            book.advance(f"a{number}", step)
    book.record_delivery("a2", RESULT.sop_instance_uid, "pacs", 1, Outcome("retry", "A700"))
    book.record_delivery("a2", RESULT.sop_instance_uid, "pacs", 2, Outcome("delivered", "0000"))
    for stage, seconds in (("segment", 2.0), ("deliver pacs 1", 0.5), ("deliver pacs 2", 40.0), ("encode", None)):
        book.record_stage("a2", stage, 1.0, seconds)
    figures = JobFigures(engine)
    assert sorted(figures.jobs()) == [("delivered", "abdomen", 1), ("held", "abdomen", 1), ("queued", "abdomen", 2)]
    assert {state for state, _ in figures.oldest()} == {"held", "queued"}
    assert all(0 <= seconds < 600 for _, seconds in figures.oldest())
    assert sorted(figures.deliveries()) == [("pacs", "delivered", 1), ("pacs", "retry", 1)]
    stages = {one.stage: (one.number, one.seconds, one.at_most) for one in figures.stages((1.0, 10.0))}
    assert stages == {"segment": (1, 2.0, (0, 1)), "deliver": (2, 40.5, (1, 1))}
    assert [one.sop_instance_uid for one in book.shown_results("1.2")] == [RESULT.sop_instance_uid]  # not of the held
    assert book.shown_results("1.3") == []

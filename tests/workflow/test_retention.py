"""What retention drops and when, over a real archive and a real job book, by a given clock."""

from __future__ import annotations

import time
from pathlib import Path

import pydicom
import pytest

from voxtell_dicom.archive.archive import Archive
from voxtell_dicom.archive.database import open_database
from voxtell_dicom.config import Config
from voxtell_dicom.jobs.book import JobBook, NewJob
from voxtell_dicom.model import Result
from voxtell_dicom.phantom import Acquisition, torso, write_series
from voxtell_dicom.receive.arrival import Sender, read_arrival
from voxtell_dicom.workflow.retention import Retention

HOUR = 3600.0
AGES = {"delivered": 24, "empty": 24, "kept": 24, "unmatched": 168, "set_aside": 168, "refused": 168}
NEVER = ("waiting", "queued", "segmenting", "encoding", "delivering", "held", "failed")


class Site:
    """A series of two slices in the archive, a result on disk, and its job."""

    def __init__(self, folder: Path) -> None:
        settings = {"version": 1, "node": {"storage": folder}, "model": {"engine": "threshold"}}
        config = Config.model_validate(settings)
        engine = open_database(config)
        self.jobs, self.archive = JobBook(engine), Archive(folder / "spool", engine, config.receive)
        for path in write_series(torso(1), Acquisition(shape=(2, 16, 16)), folder / "series"):
            header = pydicom.dcmread(path, stop_before_pixels=True)
            start = 132 + 12 + int(header.file_meta.FileMetaInformationGroupLength)
            sender = Sender("association", "CT1", "VOXTELL", time.time())
            self.archive.store(read_arrival(path.read_bytes()[start:], str(header.file_meta.TransferSyntaxUID)), sender)
        self.series_uid = str(header.SeriesInstanceUID)
        self.result, self.other = folder / "result.dcm", folder / "other.dcm"
        self.result.write_bytes(b"result")
        self.other.write_bytes(b"the same in another form")
        self.retention = Retention(config, self.jobs, self.archive)

    def job(self, state: str, job_id: str = "j", version: str | None = None) -> None:
        version = version or self.archive.current_version(self.series_uid)
        uids = {"study_uid": "1.2", "series_uid": self.series_uid, "series_version": version}
        self.jobs.open(NewJob(job_id, state, **uids))
        result = Result("receipt", "2.25.1", "", "", "", self.result, "", (), other=self.other)
        self.jobs.record_results(job_id, [result], [], [])

    def dropped_after(self, hours: float) -> bool:
        return self.retention.sweep(time.time() + hours * HOUR) == [self.series_uid]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.mark.parametrize(("state", "hours"), AGES.items())
def test_a_finished_series_goes_after_its_time_and_not_before(site: Site, state: str, hours: float) -> None:
    site.job(state)
    assert not site.dropped_after(hours - 0.1)
    assert site.result.exists()
    assert site.dropped_after(hours + 0.1)
    assert site.archive.summary(site.series_uid) is None
    assert not site.result.exists()
    assert not site.other.exists()


@pytest.mark.parametrize("state", NEVER)
def test_what_is_not_done_is_never_dropped(site: Site, state: str) -> None:
    site.job(state)
    assert not site.dropped_after(1e6)
    assert site.result.exists()
    assert len(site.archive.series(site.series_uid).instances) == 2


def test_a_series_that_no_job_has_looked_at_stays(site: Site) -> None:
    assert not site.dropped_after(1e6)


def test_one_undelivered_job_keeps_what_another_has_delivered(site: Site) -> None:
    site.job("delivered")
    site.job("delivering", "k")
    assert not site.dropped_after(1e6)
    site.jobs.advance("k", "delivered")
    assert site.dropped_after(25)


def test_jobs_that_ended_long_ago_are_removed(site: Site) -> None:
    site.job("delivered")
    site.job("failed", "k")
    site.jobs.record_stage("j", "encode", 0.0, 1.0)
    assert site.jobs.remove_older(3600) == []
    assert site.jobs.remove_older(-1, {site.series_uid}) == [], "its series is still here"
    assert site.jobs.remove_older(-1) == ["j"]
    assert [job.id for job in site.jobs.find()] == ["k"], "a person has not looked at it yet"

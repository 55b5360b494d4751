"""Retention: delivered series are dropped after a day, unmatched and refused ones after a week, jobs after a year.

Nothing undelivered is ever dropped: a series whose job waits, is held, or has failed stays, with its results, until a
person retries or drops the job.
"""

from __future__ import annotations

import time

import structlog
from dbos import DBOS

from voxtell_dicom.archive.archive import Archive
from voxtell_dicom.archive.summary import SeriesSummary
from voxtell_dicom.config import Config
from voxtell_dicom.errors import VoxtellDicomError
from voxtell_dicom.jobs.book import JobBook
from voxtell_dicom.line.masks import drop_masks
from voxtell_dicom.workflow.periodic import PeriodicTask

PERIOD_S = 600.0

log = structlog.get_logger(__name__)


class Retention(PeriodicTask):
    """Drops what is old enough, every ten minutes, from a thread."""

    def __init__(self, config: Config, jobs: JobBook, archive: Archive) -> None:
        super().__init__("retention", PERIOD_S)
        self._config = config
        self._limits = config.receive.retention
        self._jobs = jobs
        self._archive = archive

    def run_once(self) -> None:
        """Drop what is due, and the durable engine's records of what ended long ago."""
        with self._archive.exclusive("retention") as mine:
            if mine:
                self.sweep(self._archive.now())
                here = {each.series_uid for each in self._archive.summaries()}
                if gone := self._jobs.remove_older(self._limits.jobs_d * 86400, here):
                    log.info("jobs removed by retention", jobs=len(gone), older_than_d=self._limits.jobs_d)
        self._remove_finished_workflows()

    def sweep(self, now: float) -> list[str]:
        """Drop the series that are due at `now` (seconds since 1970, by the archive's clock). Returns their UIDs."""
        dropped: list[str] = []
        shortest_h = min(self._limits.delivered_h, self._limits.unmatched_h, self._limits.refused_h)
        for kept in self._archive.summaries(now - shortest_h * 3600):
            age_s = now - kept.last_arrived
            limit_h = self._limit_h(kept)
            if limit_h is None or age_s < limit_h * 3600:
                continue
            try:
                if self._archive.drop(kept.series_uid, kept.version):
                    self._drop_results(kept.series_uid)
                    dropped.append(kept.series_uid)
                    log.info("series dropped by retention", series_uid=kept.series_uid, age_h=round(age_s / 3600, 1))
            except VoxtellDicomError as error:
                log.warning("series could not be dropped", series_uid=kept.series_uid, reason=str(error))
        return dropped

    def _limit_h(self, kept: SeriesSummary) -> float | None:
        """Return how long to keep a series, None for as long as its work is not done."""
        jobs = self._jobs.find(series_uid=kept.series_uid, limit=1000)
        current = [job.state for job in jobs if job.series_version == kept.version]
        if not current:  # objects that never start work are nobody's job
            return None if kept.starts else self._limits.unmatched_h
        limits: dict[str, float] = {
            "delivered": self._limits.delivered_h,
            "kept": self._limits.delivered_h,
            "empty": self._limits.delivered_h,
            "cancelled": self._limits.delivered_h,
            "dropped": self._limits.delivered_h,
            "unmatched": self._limits.unmatched_h,
            "set_aside": self._limits.unmatched_h,
            "refused": self._limits.refused_h,
        }
        # A state that is not here (queued, delivering, held, failed …) is work that is not done.
        if any(state not in limits for state in (job.state for job in jobs)):
            return None
        given_up = ("cancelled", "dropped")
        if any(job.state not in given_up and self._jobs.untold(job.id) for job in jobs):
            return None  # a receipt is still on its way
        return max(limits[state] for state in current)

    def _drop_results(self, series_uid: str) -> None:
        for job in self._jobs.find(series_uid=series_uid, limit=1000):
            for result in (*job.results, *self._jobs.notices(job.id)):
                for path in filter(None, (result.path, result.other)):
                    path.unlink(missing_ok=True)
            drop_masks(self._config.node.storage / "work", job.id)

    def _remove_finished_workflows(self) -> None:
        """Remove what the durable engine recorded of work that ended long ago."""
        before = time.gmtime(time.time() - self._limits.workflows_d * 86400)
        old = DBOS.list_workflows(
            status=["SUCCESS", "ERROR", "CANCELLED"],
            completed_before=time.strftime("%Y-%m-%dT%H:%M:%SZ", before),
            limit=1000,
            load_input=False,
            load_output=False,
        )
        if old:
            DBOS.delete_workflows([workflow.workflow_id for workflow in old])

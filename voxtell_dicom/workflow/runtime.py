"""What the durable workflows work with: made once by the node, read by every step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import structlog

from voxtell_dicom.archive.summary import SeriesSummary
from voxtell_dicom.config import Config, Rule
from voxtell_dicom.dicom.headers import HeaderCache
from voxtell_dicom.errors import VoxtellDicomError
from voxtell_dicom.jobs.book import JobBook
from voxtell_dicom.jobs.sentences import sentence
from voxtell_dicom.line.masks import masks_path
from voxtell_dicom.model import JobState, Reason, Series
from voxtell_dicom.workers.pool import WorkerPool

log = structlog.get_logger(__name__)


def study_rules(config: Config) -> list[tuple[int, Rule]]:
    """The rules of scope study, each with its position in node.yaml."""
    return [(index, rule) for index, rule in enumerate(config.rules) if rule.scope == "study"]


class SeriesArchive(Protocol):
    """The part of the archive that workflow steps use."""

    def now(self) -> float:
        """Return the time of the archive's clock, which a change of the host's clock does not move."""

    def study(self, study_uid: str) -> Sequence[SeriesSummary]:
        """Return the series of a study, by UID."""

    def summary(self, series_uid: str) -> SeriesSummary | None:
        """Return the summary of a series, None where it is not here."""

    def series(self, series_uid: str) -> Series | None:
        """Return the newest version of a series, None where it is gone or never starts work."""

    def current_version(self, series_uid: str) -> str:
        """Return the newest version of a series, "" where it is gone."""

    def remember_own(self, uids: Iterable[str]) -> None:
        """Record the UIDs of objects before they leave, so that they are known when they come back."""


@dataclass(frozen=True)
class Runtime:
    """The parts that steps share. headers: of the series that are being processed, each parsed once."""

    config: Config
    jobs: JobBook
    pool: WorkerPool
    archive: SeriesArchive
    headers: HeaderCache = field(default_factory=HeaderCache)

    @property
    def work_dir(self) -> Path:
        """Arrays and masks on their way: can all be made again."""
        return self.config.node.storage / "work"

    @property
    def results_dir(self) -> Path:
        """Encoded objects: one UID never has two contents, so what lies here is what every delivery sends."""
        return self.config.node.storage / "results"

    def masks(self, job: str) -> Path:
        """Return where the masks of a job lie from `segment` on, until nothing is encoded from them any more."""
        return masks_path(self.work_dir, job)

    def fail(self, jobs: Sequence[str], error: Exception) -> None:
        """End jobs, with the reason in the book and the log."""
        reason = reason_of(error)
        for job in jobs:
            self.jobs.advance(job, JobState.FAILED, reason)
        log.error("jobs failed", jobs=list(jobs), reason=sentence(reason))


def reason_of(error: Exception) -> Reason:
    """Return the reason that an error is for a job: one of ours has a code; of others, the kind."""
    if isinstance(error, VoxtellDicomError):
        return Reason("error", {"code": error.code, "message": str(error)})
    return Reason("unexpected", {"kind": type(error).__name__, "message": str(error)})

"""Corrections of headers: what is undelivered is made anew under new UIDs, what is delivered gets a warning.

See docs/contracts.md, identity. The headers that count are those of the series version of a job.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Final

import structlog

from voxtell_dicom.jobs.book import JobBook, successor
from voxtell_dicom.jobs.records import Job
from voxtell_dicom.model import JobState, Reason, Series
from voxtell_dicom.workflow.messages import SegmentMessage
from voxtell_dicom.workflow.process import series_labels
from voxtell_dicom.workflow.runtime import Runtime

CORRECTED: Final = "corrected"
WARNING: Final = "headers of its series were corrected after delivery: `jobs rerun` makes results that carry them"

log = structlog.get_logger(__name__)


def corrected_series(runtime: Runtime, job: Job) -> Series | None:
    """Return the series of a job as it is now, None where its headers are still those of the objects of the job."""
    if not job.headers_digest:  # encoded by an older version of this program
        return None
    current = runtime.archive.series(job.series_uid)
    if current is None or current.version != job.series_version:
        return None  # dropped; or there is a newer version, which cancels the job
    return None if headers_digest(current) == job.headers_digest else current


def has_settled(runtime: Runtime, job: Job) -> bool:
    """Return whether nothing of a job's series came within `receive.quiet_s`; until then it may be half corrected."""
    series = runtime.archive.summary(job.series_uid)
    return series is None or series.last_arrived <= runtime.archive.now() - runtime.config.receive.quiet_s


def headers_digest(series: Series | None) -> str:
    """Return what the headers of a series version are told apart by, "" for no series."""
    if series is None:
        return ""
    lines = sorted(f"{one.sop_instance_uid} {one.digest}" for one in series.instances)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def replace_job(runtime: Runtime, job_id: str) -> SegmentMessage | None:
    """Cancel a job whose headers were corrected and open the one in its place. Returns the message to its `segment`.

    None where the job has ended otherwise meanwhile. May be repeated.
    """
    job = runtime.jobs.get(job_id)
    if job is None:
        return None
    if job.state == JobState.CANCELLED:
        return SegmentMessage((job.reason.parameters["job"],)) if job.reason.code == CORRECTED else None
    current = corrected_series(runtime, job)
    if current is None:
        return None
    plan, volume = runtime.jobs.plan(job_id)
    options = replace(plan.options, correction=headers_digest(current))
    new = replace(
        successor(job, replace(plan, options=options), volume),
        labels=series_labels(runtime, current),
        warnings=volume.warnings,
        supersedes=runtime.jobs.delivered_objects(job_id),
    )
    runtime.jobs.open(new)
    if not runtime.jobs.advance(job_id, JobState.CANCELLED, Reason(CORRECTED, {"job": new.id})):
        return None
    log.info("job cancelled: the headers of its series were corrected", job=job_id, new_job=new.id)
    return SegmentMessage((new.id,))


def warn_of_correction(jobs: JobBook, series_uid: str) -> None:
    """Record a warning with the delivered jobs of a series: its headers were corrected since."""
    for job in jobs.find(series_uid=series_uid, states=(JobState.DELIVERED,)):
        if WARNING not in job.warnings:
            jobs.add_warning(job.id, WARNING)
            log.warning("headers corrected after delivery", job=job.id, series_uid=series_uid)

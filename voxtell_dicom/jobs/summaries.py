"""Jobs as programs and pages see them: what `jobs list` and `jobs show` print, and the web console shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from voxtell_dicom.jobs.book import JobBook
from voxtell_dicom.jobs.records import Job
from voxtell_dicom.model import JobState, Receiving, dump

Arriving = Callable[[], Iterable[Receiving]]


def summary(job: Job) -> dict[str, Any]:
    """Return what ``jobs list --json`` says of a job."""
    return {
        "id": job.id,
        "state": str(job.state),
        "reason": job.sentence,
        "reason_code": job.reason.code,
        "rule": job.rule,
        "study_uid": job.study_uid,
        "series_uid": job.series_uid,
        "accession": job.accession,
        "description": job.description,
        "instances": job.instances,
        "empty": list(job.empty),
        "warnings": list(job.warnings),
        "supersedes": list(job.supersedes),
        "results": [result.sop_instance_uid for result in job.results],
        "created": job.created,
        "updated": job.updated,
    }


def receiving_summary(series: Receiving) -> dict[str, Any]:
    """Return what ``jobs list --json`` says of a series that is arriving: it has no job, hence no id."""
    return {
        "id": "",
        "state": str(JobState.RECEIVING),
        "reason": receiving_sentence(series),
        "reason_code": "receiving",
        "rule": "",
        "study_uid": series.study_uid,
        "series_uid": series.series_uid,
        "accession": "",
        "description": "",
        "results": [],
        "instances": series.instances,
        "calling_ae": series.calling_ae,
        "created": series.since,
        "updated": series.since,
    }


def receiving_sentence(series: Receiving) -> str:
    """Return how much of a series has arrived, and from whom."""
    return f"{series.instances} instance(s) so far, from {series.calling_ae or 'an unnamed sender'}"


def details(job: Job) -> dict[str, Any]:
    """Return what ``jobs show --json`` says of a job."""
    return {
        **summary(job),
        "results": [dump(result) for result in job.results],
        "notices": [dump(notice.result) for notice in job.notices],
        "deliveries": [{**asdict(delivery), "state": str(delivery.state)} for delivery in job.deliveries],
        "timeline": [asdict(stage) for stage in job.timeline],
        "plan": dump(job.plan) if job.plan else None,
        "conditions": failed_conditions(job),
    }


def failed_conditions(job: Job) -> list[dict[str, str]]:
    """Return, of a series that no rule matches, the condition that each rule failed by; none for other jobs."""
    return list(job.reason.parameters.get("conditions", ())) if job.state == JobState.UNMATCHED else []


def listed(
    jobs: JobBook,
    arriving: Arriving | None = None,
    *,
    states: Sequence[str] = (),
    series_uid: str = "",
    study_uid: str = "",
    accession: str = "",
    limit: int = 100,
) -> list[Job | Receiving]:
    """Return the jobs that meet all that is given, and the series that are arriving, the newest first.

    arriving: default: what the archive's index says.
    """
    found: list[Job | Receiving] = []
    if not accession and (not states or JobState.RECEIVING in states):
        found += [
            each
            for each in sorted((arriving or jobs.receiving)(), key=lambda each: each.since, reverse=True)
            if series_uid in ("", each.series_uid) and study_uid in ("", each.study_uid)
        ]
    found += jobs.find(states=states, series_uid=series_uid, study_uid=study_uid, accession=accession, limit=limit)
    return found[:limit]

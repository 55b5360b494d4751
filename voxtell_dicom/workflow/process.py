"""What `process` does: assemble a series, match the rules, open the jobs."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict

import structlog

from voxtell_dicom.encode import ENCODER_REVISION
from voxtell_dicom.errors import Refusal, VoxtellDicomError
from voxtell_dicom.jobs.book import NewJob, SeriesLabels
from voxtell_dicom.jobs.sentences import sentence
from voxtell_dicom.line.plan import PlanContext, Planned, job_id, plan_series, soft_peers
from voxtell_dicom.model import JobState, PlanOptions, Reason, Series, SetAside
from voxtell_dicom.model.states import FINAL, predecessors
from voxtell_dicom.retry import reraise_if_transient
from voxtell_dicom.workflow.messages import SegmentMessage
from voxtell_dicom.workflow.runtime import Runtime, reason_of, study_rules

log = structlog.get_logger(__name__)


def process_series(runtime: Runtime, series: Series) -> list[SegmentMessage]:
    """Open the jobs of a series version. Returns the messages to `segment`, one for each volume that a rule wants.

    Whatever is wrong with the series ends in a job that says so (refused, set_aside, unmatched, failed).
    """
    began = time.time()
    current = runtime.archive.current_version(series.series_uid)
    if current and current != series.version:
        _note_series(runtime, series, JobState.CANCELLED, Reason("newer-version"))
        return []
    options = _supersede(runtime, series)
    try:
        planning = plan_series(
            series,
            runtime.config.rules,
            PlanContext(
                engine_identity=runtime.pool.identity(),
                encoder_revision=ENCODER_REVISION,
                work_dir=runtime.work_dir,
                soft_peers=soft_peers(runtime.config),
                headers=runtime.headers.of(series.series_uid),
            ),
            options,
        )
    except Refusal as refusal:
        note_refusals(runtime, series, [SetAside(refusal.code, str(refusal), (refusal.uid,), refused=True)])
        return []
    except VoxtellDicomError as error:
        _note_series(runtime, series, JobState.FAILED, reason_of(error))
        return []
    except Exception as error:
        reraise_if_transient(error)
        log.exception("series failed", series_uid=series.series_uid)
        _note_series(runtime, series, JobState.FAILED, reason_of(error))
        return []
    note_refusals(runtime, series, planning.set_aside)
    if planning.volumes and study_rules(runtime.config):
        _note_series(runtime, series, JobState.WAITING, Reason("study-not-quiet"))
    elif planning.unmatched and not planning.planned:
        conditions = [asdict(each) for each in planning.failed_conditions]
        _note_series(runtime, series, JobState.UNMATCHED, Reason("no-rule", {"conditions": conditions}))
    return open_jobs(runtime, series, planning.planned, began)


def _supersede(runtime: Runtime, series: Series) -> PlanOptions:
    """Cancel what an older version of the series left undelivered; say which delivered results this one replaces."""
    jobs = runtime.jobs
    older = [job for job in jobs.find(series_uid=series.series_uid) if job.series_version != series.version]
    replaced: list[str] = []
    of_studies = {rule.name for _, rule in study_rules(runtime.config)}
    for job in older:
        if job.state not in FINAL and jobs.advance(job.id, JobState.CANCELLED, Reason("newer-version")):
            log.info("job cancelled: a newer version of its series arrived", job=job.id)
        if not (job.plan and job.plan.rule in of_studies):  # what those replace, `study.py` says
            replaced += jobs.delivered_objects(job.id)
    versions = {job.series_version for job in older}
    return PlanOptions(
        version=len(versions) + 1 if versions else None,
        supersedes=tuple(sorted(replaced)),
        incomplete=series.incomplete,
    )


def _note_series(runtime: Runtime, series: Series, state: JobState, reason: Reason) -> None:
    _note(runtime, job_id(series.series_uid, series.version), series, state, reason)


def note_refusals(runtime: Runtime, series: Series, items: Iterable[SetAside]) -> None:
    """One job for each thing of a series that was refused or set aside, to say why."""
    for item in items:
        state = JobState.REFUSED if item.refused else JobState.SET_ASIDE
        job = job_id(series.series_uid, series.version, item.code, item.uids)
        reason = Reason("refusal", {"code": item.code, "message": item.reason, "rule": item.rule})
        _note(runtime, job, series, state, reason)


def _note(runtime: Runtime, job: str, series: Series, state: JobState, reason: Reason) -> None:
    uids = series.study_uid, series.series_uid, series.version
    new = NewJob(job, state, *uids, reason, series_labels(runtime, series))
    if not runtime.jobs.open(new) and runtime.jobs.state(job) in predecessors(state):
        runtime.jobs.reopen(job, state, reason)  # not what a person has dropped
    log.info("series " + state, series_uid=series.series_uid, job=job, reason=sentence(reason))


def series_labels(runtime: Runtime, series: Series) -> SeriesLabels:
    """Return what people know a series by, from the header of its first instance; empty where that is unreadable."""
    count = len(series.instances)
    try:
        header = runtime.headers.of(series.series_uid)(series.instances[0].path)
        accession, description = (
            str(header.get(name) or "").strip() for name in ("AccessionNumber", "SeriesDescription")
        )
    except Exception:  # whatever a broken file raises inside the parser; the job itself says that it is broken
        return SeriesLabels(instances=count)
    return SeriesLabels(accession, description, count)


def open_jobs(
    runtime: Runtime, series: Series, planned: Iterable[Planned], began: float, folder: str = ""
) -> list[SegmentMessage]:
    """One job for each plan of each volume. Returns the messages to `segment`, one for each volume not done long ago.

    folder: of the arrays, below the work folder.
    """
    opened = [_open_jobs(runtime, series, each, began, folder) for each in planned]
    return [item for item in opened if item]


def _open_jobs(runtime: Runtime, series: Series, planned: Planned, began: float, folder: str) -> SegmentMessage | None:
    """One job for each plan of a volume. Returns the message to its `segment`; None where all were done long ago."""
    going: list[str] = []
    for plan in planned.plans:
        job = plan.key[:16]
        new = runtime.jobs.open(
            NewJob(
                id=job,
                state=JobState.QUEUED,
                study_uid=series.study_uid,
                series_uid=series.series_uid,
                series_version=series.version,
                labels=series_labels(runtime, series),
                plan=plan,
                volume=planned.volume,
                warnings=planned.volume.warnings,
                supersedes=plan.options.supersedes,
            )
        )
        if new or runtime.jobs.state(job) == JobState.QUEUED:
            runtime.jobs.record_stage(job, "process", began, time.time() - began)
            going.append(job)
        log.info("series matched", series_uid=series.series_uid, rule=plan.rule, job=job, new=new)
    if not going:
        for array in planned.arrays:
            array.unlink(missing_ok=True)
        return None
    return SegmentMessage(tuple(going), folder)

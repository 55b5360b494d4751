"""What `process` does: assemble a series, match the rules, open the jobs."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import structlog

from voxtell_dicom.encode import ENCODER_REVISION
from voxtell_dicom.errors import Refusal, VoxtellDicomError
from voxtell_dicom.jobs.book import FINAL
from voxtell_dicom.line.plan import PlanContext, Planned, accession_of, job_id, plan_series, soft_peers
from voxtell_dicom.model import Plan, Series, SetAside, dump
from voxtell_dicom.retry import reraise_if_transient
from voxtell_dicom.workflow.runtime import FORMAT, Runtime, study_rules

log = structlog.get_logger(__name__)


def process_series(runtime: Runtime, series: Series) -> list[dict[str, Any]]:
    """Open the jobs of a series version. Returns the inputs of `segment`, one for each volume that a rule wants.

    Whatever is wrong with the series ends in a job that says so (refused, set_aside, unmatched, failed).
    """
    began = time.time()
    current = runtime.archive.current_version(series.series_uid)
    if current and current != series.version:
        _note_series(runtime, series, "cancelled", "a newer version of the series arrived")
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
        _note_series(runtime, series, "failed", f"{error.code}: {error}")
        return []
    except Exception as error:
        reraise_if_transient(error)
        log.exception("series failed", series_uid=series.series_uid)
        _note_series(runtime, series, "failed", f"unexpected {type(error).__name__}: {error}")
        return []
    note_refusals(runtime, series, planning.set_aside)
    if planning.volumes and study_rules(runtime.config):
        _note_series(runtime, series, "waiting", "for its study to be quiet")
    elif planning.unmatched and not planning.planned:
        _note_series(runtime, series, "unmatched", "no rule matches: see `rules explain`")
    return open_jobs(runtime, series, planning.planned, began)


def _supersede(runtime: Runtime, series: Series) -> dict[str, Any]:
    """Cancel what an older version of the series left undelivered; say which delivered results this one replaces."""
    jobs = runtime.jobs
    older = [job for job in jobs.find(series_uid=series.series_uid) if job["series_version"] != series.version]
    replaced: list[str] = []
    of_studies = {rule.name for _, rule in study_rules(runtime.config)}
    for job in older:
        if job["state"] not in FINAL and jobs.advance(job["id"], "cancelled", "a newer version of the series arrived"):
            log.info("job cancelled: a newer version of its series arrived", job=job["id"])
        if not (job["plan"] and job["plan"]["rule"] in of_studies):  # what those replace, `study.py` says
            replaced += jobs.delivered_objects(job["id"])
    versions = {job["series_version"] for job in older}
    options: dict[str, Any] = {}
    if versions:
        options["version"] = len(versions) + 1
    if replaced:
        options["supersedes"] = sorted(replaced)
    if series.incomplete:
        options["incomplete"] = series.incomplete
    return options


def _note_series(runtime: Runtime, series: Series, state: str, reason: str) -> None:
    _note(runtime, job_id(series.series_uid, series.version), series, state, reason)


def note_refusals(runtime: Runtime, series: Series, items: Iterable[SetAside]) -> None:
    """One job for each thing of a series that was refused or set aside, to say why."""
    for item in items:
        state = "refused" if item.refused else "set_aside"
        job = job_id(series.series_uid, series.version, item.code, item.uids)
        _note(runtime, job, series, state, f"{item.code}: {item.reason}")


def _note(runtime: Runtime, job: str, series: Series, state: str, reason: str) -> None:
    opened = runtime.jobs.open_job(
        job,
        state=state,
        reason=reason,
        study_uid=series.study_uid,
        series_uid=series.series_uid,
        series_version=series.version,
        series=series,
    )
    if not opened:
        runtime.jobs.reopen(job, state, reason)
    log.info("series " + state, series_uid=series.series_uid, job=job, reason=reason)


def open_jobs(runtime: Runtime, series: Series, planned: Iterable[Planned], began: float) -> list[dict[str, Any]]:
    """One job for each plan of each volume. Returns the inputs of `segment`, one for each volume not done long ago."""
    opened = [_open_jobs(runtime, series, each, began) for each in planned]
    return [item for item in opened if item]


def _open_jobs(runtime: Runtime, series: Series, planned: Planned, began: float) -> dict[str, Any] | None:
    """One job for each plan of a volume. Returns the input of its `segment`; None where all were done long ago."""
    going: dict[str, Plan] = {}
    for plan in planned.plans:
        job = plan.key[:16]
        new = runtime.jobs.open_job(
            job,
            state="queued",
            study_uid=series.study_uid,
            series_uid=series.series_uid,
            series_version=series.version,
            accession=accession_of(planned.volume, runtime.headers.of(series.series_uid)),
            series=series,
            plan=plan,
            volume=planned.volume,
            warnings=planned.volume.warnings,
            supersedes=plan.options.get("supersedes", ()),
        )
        if new or runtime.jobs.state(job) == "queued":
            runtime.jobs.record_stage(job, "process", began, time.time() - began)
            going[job] = plan
        log.info("series matched", series_uid=series.series_uid, rule=plan.rule, job=job, new=new)
    if not going:
        for array in planned.arrays:
            array.unlink(missing_ok=True)
        return None
    return segment_input(replace(planned, plans=tuple(going.values())), list(going))


def segment_input(planned: Planned, jobs: list[str]) -> dict[str, Any]:
    """The input of `segment`, with the id that makes it idempotent."""
    return {
        "v": FORMAT,
        "id": f"segment:{job_id(*jobs)}",
        "jobs": jobs,
        "planned": dump(planned),
    }

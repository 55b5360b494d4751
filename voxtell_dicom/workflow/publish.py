"""The durable shell around `line.publish`: what the job book says of a plan's results, and whether they may leave."""

from __future__ import annotations

import time

import structlog

from voxtell_dicom.check import gates
from voxtell_dicom.errors import VoxtellDicomError
from voxtell_dicom.line.masks import load_findings, load_found
from voxtell_dicom.line.publish import RELEASED, Judged, Published, judge, publish
from voxtell_dicom.model import JobState, Reason
from voxtell_dicom.retry import reraise_if_transient
from voxtell_dicom.workflow.messages import DeliverMessage, deliveries
from voxtell_dicom.workflow.runtime import Runtime

# States of jobs whose series' headers are read again.
UNPUBLISHED = (JobState.WAITING, JobState.QUEUED, JobState.SEGMENTING, JobState.ENCODING)

__all__ = ["RELEASED", "judged_of", "publish_plan"]
log = structlog.get_logger(__name__)


def publish_plan(runtime: Runtime, job: str) -> list[DeliverMessage]:
    """Encode a job's masks. Returns the messages to `deliver`: none where nothing was found, or the job is held."""
    began = time.time()
    if not runtime.jobs.advance(job, JobState.ENCODING):
        return []
    judged = judged_of(runtime, job)
    try:
        headers = runtime.headers.of(judged.volume.series_uid)
        published = publish(judged, config=runtime.config, directory=runtime.results_dir, headers=headers)
    except VoxtellDicomError as error:
        runtime.fail([job], error)
        return []
    except Exception as error:
        reraise_if_transient(error)
        log.exception("encoding failed", job=job)
        runtime.fail([job], error)
        return []
    # Before it leaves: a PACS that forwards what it stores must not make us work on our own results.
    runtime.archive.remember_own(
        [uid for each in published.results for uid in (each.sop_instance_uid, each.series_uid)]
    )
    runtime.jobs.record_results(job, published.results, published.empty, published.warnings)
    runtime.jobs.record_stage(job, "encode", began, time.time() - began, gates.confidence(judged.found))
    if published.empty:
        log.info("nothing found for some prompts", job=job, empty=list(published.empty))
    if left_out := gates.notes(judged.found):
        log.warning("segments left out", job=job, left_out=left_out)
    items = _send_or_hold(runtime, job, judged, published)
    if not runtime.jobs.find(series_uid=judged.volume.series_uid, states=UNPUBLISHED, limit=1):
        runtime.headers.drop(judged.volume.series_uid)
    return items


def judged_of(runtime: Runtime, job: str) -> Judged:
    """Return what the results of a job are encoded from, by its plan, its masks and the findings about them."""
    masks = runtime.masks(job)
    plan, volume = runtime.jobs.plan(job)
    return judge(plan, volume, load_found(masks), load_findings(masks), runtime.config.rules)


def _send_or_hold(runtime: Runtime, job: str, judged: Judged, published: Published) -> list[DeliverMessage]:
    plan, jobs = judged.plan, runtime.jobs
    if judged.action == "drop":
        jobs.advance(job, JobState.DROPPED, Reason("dropped-by-rule", {"findings": list(judged.reasons)}))
    elif judged.action == "hold":
        jobs.advance(job, JobState.HELD, Reason("held", {"findings": list(judged.reasons)}))
    elif not published.results:
        nothing = gates.nothing(len(judged.found), published.empty)
        jobs.advance(job, JobState.EMPTY, Reason("nothing-to-send", {"nothing": nothing}))
    elif not plan.send_to:
        jobs.advance(job, JobState.KEPT, Reason("no-peer"))
    elif jobs.advance(job, JobState.DELIVERING):
        return deliveries(job, published.results, plan.send_to)
    return []

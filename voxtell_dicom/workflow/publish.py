"""The durable shell around `line.publish`: what the job book says of a plan's results, and whether they may leave."""

from __future__ import annotations

import time
from typing import Any

import structlog

from voxtell_dicom.check import gates
from voxtell_dicom.errors import VoxtellDicomError
from voxtell_dicom.line.masks import load_findings, load_found
from voxtell_dicom.line.publish import RELEASED, Judged, Published, judge, publish
from voxtell_dicom.retry import reraise_if_transient
from voxtell_dicom.workflow.deliver import delivery_inputs
from voxtell_dicom.workflow.runtime import Runtime

UNPUBLISHED = ("waiting", "queued", "segmenting", "encoding")  # states of jobs whose series' headers are read again
DROPPED = "the rule drops a result with this finding"

__all__ = ["DROPPED", "RELEASED", "judged_of", "publish_plan"]
log = structlog.get_logger(__name__)


def publish_plan(runtime: Runtime, job: str) -> list[dict[str, Any]]:
    """Encode a job's masks. Returns the inputs of `deliver`: none where nothing was found, or the job is held."""
    began = time.time()
    if not runtime.jobs.advance(job, "encoding"):
        return []
    judged = judged_of(runtime, job)
    try:
        headers = runtime.headers.of(judged.volume.series_uid)
        published = publish(judged, config=runtime.config, directory=runtime.results_dir, headers=headers)
    except VoxtellDicomError as error:
        runtime.fail([job], f"{error.code}: {error}")
        return []
    except Exception as error:
        reraise_if_transient(error)
        log.exception("encoding failed", job=job)
        runtime.fail([job], f"unexpected {type(error).__name__}: {error}")
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


def _send_or_hold(runtime: Runtime, job: str, judged: Judged, published: Published) -> list[dict[str, Any]]:
    plan, jobs = judged.plan, runtime.jobs
    if judged.action == "drop":
        jobs.advance(job, "dropped", f"{DROPPED}: {judged.reason}")
    elif judged.action == "hold":
        jobs.advance(job, "held", f"{judged.reason}: look at it, then `jobs release` or `jobs drop`")
    elif not published.results:
        nothing = gates.nothing(len(judged.found), published.empty)
        jobs.advance(job, "empty", f"{nothing}: there is no object to send")
    elif not plan.send_to:
        jobs.advance(job, "kept", "the rule names no peer in send_to; the result lies in the storage folder")
    elif jobs.advance(job, "delivering"):
        return delivery_inputs(job, published.results, plan.send_to)
    return []

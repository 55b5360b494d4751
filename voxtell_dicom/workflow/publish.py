"""The durable shell around `line.publish`: what the job book says of a plan's results, and whether they may leave."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import structlog

from voxtell_dicom.check import gates
from voxtell_dicom.errors import VoxtellDicomError
from voxtell_dicom.line.load import arrays_of, used_by_outputs
from voxtell_dicom.line.masks import load_findings, load_found
from voxtell_dicom.line.publish import RELEASED, Judged, Published, judge, publish
from voxtell_dicom.model import JobState, Plan, Reason, Volume
from voxtell_dicom.retry import reraise_if_transient
from voxtell_dicom.workflow.correction import headers_digest
from voxtell_dicom.workflow.messages import DeliverMessage, deliveries
from voxtell_dicom.workflow.runtime import Runtime
from voxtell_dicom.workflow.study_choice import ARRAYS

# States of jobs whose series' headers are read again.
IN_WORK = (JobState.QUEUED, JobState.SEGMENTING, JobState.ENCODING)
UNPUBLISHED = (JobState.WAITING, *IN_WORK)

__all__ = ["RELEASED", "judged_of", "publish_plan"]
log = structlog.get_logger(__name__)


def publish_plan(runtime: Runtime, job: str) -> list[DeliverMessage]:
    """Encode a job's masks. Returns the messages to `deliver`: none where nothing was found, or the job is held."""
    try:
        return _publish(runtime, job)
    finally:
        _drop_arrays(runtime, job)


def _publish(runtime: Runtime, job: str) -> list[DeliverMessage]:
    began = time.time()
    if not runtime.jobs.advance(job, JobState.ENCODING):
        return []
    judged = judged_of(runtime, job)
    headers = headers_digest(runtime.archive.series(judged.volume.series_uid))
    try:
        published = publish(
            judged,
            config=runtime.config,
            directory=runtime.results_dir,
            headers=runtime.headers.of(judged.volume.series_uid),
            arrays=next(_arrays(runtime, judged.plan, judged.volume), ()),
        )
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
    runtime.jobs.record_results(job, published.results, published.empty, published.warnings, headers)
    runtime.jobs.record_stage(job, "encode", began, time.time() - began, gates.confidence(judged.found))
    if published.empty:
        log.info("nothing found for some prompts", job=job, empty=list(published.empty))
    if left_out := gates.notes(judged.found):
        log.warning("segments left out", job=job, left_out=left_out)
    items = _send_or_hold(runtime, job, judged, published)
    if not runtime.jobs.find(series_uid=judged.volume.series_uid, states=UNPUBLISHED, limit=1):
        runtime.headers.drop(judged.volume.series_uid)
    return items


def _arrays(runtime: Runtime, plan: Plan, volume: Volume) -> Iterator[tuple[Path, ...]]:
    """The arrays that the pass of the engine left for the outputs of a plan, or of rules of scope study."""
    if used_by_outputs(plan):
        for folder in (runtime.work_dir, runtime.work_dir / ARRAYS):
            arrays = arrays_of(folder, volume, plan.options.values)
            if all(array.exists() for array in arrays):
                yield arrays


def _drop_arrays(runtime: Runtime, job: str) -> None:
    """Drop the arrays of a job's volume, unless another job is about to need them."""
    if not runtime.jobs.state(job):
        return
    plan, volume = runtime.jobs.plan(job)
    arrays = [array for some in _arrays(runtime, plan, volume) for array in some]
    if not arrays:
        return
    going = runtime.jobs.find(series_uid=volume.series_uid, states=IN_WORK, limit=1000)
    if not any(other.id != job and other.plan and other.plan.volume_key == plan.volume_key for other in going):
        for array in arrays:
            array.unlink(missing_ok=True)


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

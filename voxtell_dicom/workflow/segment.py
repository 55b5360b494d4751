"""The durable shell around `line.segment`: workers, attempts and what the job book says of a pass."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from voxtell_dicom.check import findings
from voxtell_dicom.errors import OutOfMemory, VoxtellDicomError
from voxtell_dicom.line.limit import limit_of
from voxtell_dicom.line.load import arrays_of, used_by_outputs
from voxtell_dicom.line.masks import save_findings, save_found
from voxtell_dicom.line.plan import Planned, job_id
from voxtell_dicom.line.segment import Segmented, WorkCancelled, found_for, segment_volume
from voxtell_dicom.model import JobState
from voxtell_dicom.retry import reraise_if_transient
from voxtell_dicom.workers.pool import WorkerDied, WorkerRefused
from voxtell_dicom.workflow.failures import MAX_FAILURES
from voxtell_dicom.workflow.messages import SegmentMessage
from voxtell_dicom.workflow.runtime import Runtime

ATTEMPTS = 3  # where memory is short
MEMORY_PAUSE_S = 60.0  # before memory is asked for again: others may share the GPU

log = structlog.get_logger(__name__)


def segment_jobs(runtime: Runtime, message: SegmentMessage, *, count_failure: Callable[[], int]) -> str:
    """Segment the volume of the jobs of a message: see `segment_plans`."""
    pairs = [runtime.jobs.plan(job) for job in message.jobs]
    plans, volume = tuple(plan for plan, _ in pairs), pairs[0][1]
    arrays = arrays_of(runtime.work_dir / message.folder, volume, plans[0].options.values)
    planned = Planned(volume, plans, arrays)
    return segment_plans(runtime, planned, list(message.jobs), count_failure=count_failure)


def segment_plans(runtime: Runtime, planned: Planned, jobs: list[str], *, count_failure: Callable[[], int]) -> str:
    """Segment a volume for its plans (`jobs`, one each); leaves a mask file for each job.

    count_failure: counts a death of the worker in this work, and returns how many there were, before a restart, too.
    Returns "segmented", "cancelled" (no job is wanted any more) or "failed" (the jobs say why).
    """
    began = time.time()
    if not [job for job in jobs if runtime.jobs.advance(job, JobState.SEGMENTING)]:
        return "cancelled"
    answers = runtime.work_dir / f"{job_id(*jobs)}.answers.json"
    try:
        segmented = _run_engine(runtime, planned, jobs, answers, count_failure)
        for plan, job in zip(planned.plans, jobs, strict=True):
            found = found_for(plan, planned.volume, segmented.answers)
            save_findings(runtime.masks(job), findings.check(found, planned.volume, planned.arrays))
            save_found(runtime.masks(job), found)
    except WorkCancelled:
        log.info("segmentation stopped: nobody wants it any more", jobs=jobs)
        return "cancelled"
    except VoxtellDicomError as error:
        reraise_if_transient(error)
        return _fail(runtime, jobs, error)
    except Exception as error:
        reraise_if_transient(error)
        log.exception("segmentation failed", jobs=jobs)
        return _fail(runtime, jobs, error)
    finally:
        answers.unlink(missing_ok=True)
    if not any(used_by_outputs(plan) for plan in planned.plans):  # else `publish` drops them
        for array in planned.arrays:
            array.unlink(missing_ok=True)
    run = segmented.report
    for job in jobs:
        runtime.jobs.record_stage(job, "segment", began, time.time() - began, run.in_words() if run else "")
    return "segmented"


def _fail(runtime: Runtime, jobs: list[str], error: Exception) -> str:
    runtime.fail(jobs, error)
    return "failed"


def _run_engine(
    runtime: Runtime, planned: Planned, jobs: list[str], answers: Path, count_failure: Callable[[], int]
) -> Segmented:
    def progress(done: int, total: int) -> None:
        said = progress_in_words(done, total, time.time() - began)
        for job in jobs:
            runtime.jobs.record_stage(job, "segment", began, None, said)

    def cancelled() -> bool:
        return not any(runtime.jobs.is_going(job) for job in jobs)

    limit = limit_of(runtime.config.rules, planned.plans)
    spent = 0.0
    for attempt in itertools.count(1):
        began = time.time()
        try:
            with runtime.pool.borrow() as worker:
                began = time.time()  # waiting for a free worker is not the rule's time
                return segment_volume(
                    planned, worker, out=answers, limit=limit.less(spent), progress=progress, cancelled=cancelled
                )
        except WorkerDied as error:
            failures = count_failure()
            log.warning("worker died", jobs=jobs, failures=failures, reason=str(error))
            if failures >= MAX_FAILURES:
                raise
        except WorkerRefused as error:
            if error.code != OutOfMemory.code or attempt >= ATTEMPTS:
                raise
            log.warning("memory ran out: tried again", jobs=jobs, attempt=attempt, reason=str(error))
            _pause(MEMORY_PAUSE_S * attempt, cancelled)
        spent += time.time() - began
    raise AssertionError  # not reached


def progress_in_words(done: int, total: int, seconds: float) -> str:
    """Return how far a pass is, and about how long the rest will take: "12/30 windows, about 40 s left"."""
    said = f"{done}/{total} windows"
    if not done or done >= total:
        return said
    left = seconds / done * (total - done)
    size, unit = next(
        (size, unit) for size, unit in ((3600, "h"), (60, "min"), (1, "s")) if left >= 2 * size or size == 1
    )
    return f"{said}, about {math.ceil(left / size)} {unit} left"


def _pause(seconds: float, cancelled: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if cancelled():
            raise WorkCancelled("cancelled while waiting for memory")
        time.sleep(min(left, 1))

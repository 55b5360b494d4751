"""What `segment` does: one pass of the engine for all plans of a volume, in the worker process."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path

import structlog

from voxtell_dicom.errors import Refusal, VoxtellDicomError
from voxtell_dicom.model import Found, Plan, Prompt, Request, RunReport, Volume, dump, load
from voxtell_dicom.series.volume import to_frames
from voxtell_dicom.workflow import findings
from voxtell_dicom.workflow.masks import load_answers, save_found
from voxtell_dicom.workflow.patience import let_pass
from voxtell_dicom.workflow.planning import Planned, job_id, load_array, values_of
from voxtell_dicom.workflow.runtime import Runtime
from voxtell_dicom.workflow.workers import WorkCancelled, Worker, WorkerDied

WORKER_ATTEMPTS = 3
SEGMENT_TIMEOUT_S = 4 * 3600.0  # against a hung device, not against slow work

log = structlog.get_logger(__name__)


def segment_plans(runtime: Runtime, planned: Planned, jobs: list[str]) -> str:
    """Segment a volume for its plans (`jobs`, one each); leaves a mask file for each job.

    Returns "segmented", "cancelled" (no job is wanted any more) or "failed" (the jobs say why).
    """
    began = time.time()
    if not [job for job in jobs if runtime.jobs.advance(job, "segmenting")]:
        return "cancelled"
    answers = runtime.work_dir / f"{job_id(*jobs)}.answers.json"
    try:
        run = _run_engine(runtime, planned, jobs, answers)
        for plan, job in zip(planned.plans, jobs, strict=True):
            found = found_for(plan, planned.volume, answers)
            findings.save(runtime.masks(job), findings.check(found, planned.volume, planned.array))
            save_found(runtime.masks(job), found)
    except WorkCancelled:
        return "cancelled"
    except VoxtellDicomError as error:
        let_pass(error)
        return _fail(runtime, jobs, f"{error.code}: {error}")
    except Exception as error:
        let_pass(error)
        log.exception("segmentation failed", jobs=jobs)
        return _fail(runtime, jobs, f"unexpected {type(error).__name__}: {error}")
    finally:
        answers.unlink(missing_ok=True)
    planned.array.unlink(missing_ok=True)
    for job in jobs:
        runtime.jobs.record_stage(job, "segment", began, time.time() - began, run.in_words() if run else "")
    return "segmented"


def _fail(runtime: Runtime, jobs: list[str], reason: str) -> str:
    runtime.fail(jobs, reason)
    return "failed"


def _run_engine(runtime: Runtime, planned: Planned, jobs: list[str], answers: Path) -> RunReport | None:
    def progress(done: int, total: int) -> None:
        for job in jobs:
            runtime.jobs.record_stage(job, "segment", began, None, f"{done}/{total} windows")

    def cancelled() -> bool:
        return not any(runtime.jobs.is_going(job) for job in jobs)

    attempt = 0
    while True:
        attempt += 1
        began = time.time()
        try:
            with runtime.pool.borrow() as worker:
                return segment_volume(
                    planned, worker, out=answers, timeout_s=SEGMENT_TIMEOUT_S, progress=progress, cancelled=cancelled
                )
        except WorkerDied as error:
            log.warning("worker died", jobs=jobs, attempt=attempt, reason=str(error))
            if attempt == WORKER_ATTEMPTS:
                raise


def segment_volume(
    planned: Planned,
    worker: Worker,
    *,
    out: Path,
    timeout_s: float,
    progress: Callable[[int, int], None],
    cancelled: Callable[[], bool],
) -> RunReport | None:
    """One pass of the engine for all plans of a volume; the answers go to `out`. Returns what it took.

    Raises WorkerDied, WorkerRefused, WorkCancelled, or Refusal where it took longer than `timeout_s`.
    """
    if not planned.array.exists():  # another machine's, or cleaned up: made again, the same
        load_array(planned.volume, planned.array.parent, values_of(planned.plans[0]))
    requests = dict.fromkeys(request_for(plan, prompt) for plan in planned.plans for prompt in plan.prompts)
    task_id, future = worker.submit(
        "segment",
        progress=progress,
        array=str(planned.array),
        spacing_zyx_mm=planned.volume.spacing_zyx_mm,
        requests=[dump(request) for request in requests],
        out=str(out),
    )
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            run = future.result(timeout=1)["run"]
            return load(RunReport, run) if run else None
        except FutureTimeout:
            if future.done():
                raise
            if cancelled():
                worker.cancel(task_id)
                raise WorkCancelled("cancelled while segmenting") from None
            if time.monotonic() > deadline:
                worker.stop(timeout_s=1)
                raise Refusal(
                    "segmentation-timeout",
                    f"the engine did not finish within {timeout_s:.0f} s; the worker was stopped",
                    planned.volume.series_uid,
                ) from None


def request_for(plan: Plan, prompt: Prompt) -> Request:
    """What the engine is asked for a prompt of a plan. Equal requests of several rules are computed once."""
    group = f"{plan.rule}: {prompt.exclusive_group}" if prompt.exclusive_group else ""  # rules do not share groups
    return Request(
        prompt.text,
        prompt.threshold,
        cleanup=prompt.cleanup,
        exclusive_group=group,
        resampling=prompt.resampling,
    )


def found_for(plan: Plan, volume: Volume, answers: Path) -> tuple[Found, ...]:
    """The masks of one plan, brought back on the source frames, in the order of its prompts."""
    by_request = {answer.request: answer for answer in load_answers(answers)}
    found: list[Found] = []
    for prompt in plan.prompts:
        answer = by_request[request_for(plan, prompt)]
        found.append(Found(prompt, to_frames(answer.mask, volume), answer.mean_probability, answer.uncertain_share))
    return tuple(found)

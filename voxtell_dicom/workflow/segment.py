"""What `segment` does: one pass of the engine for all plans of a volume, in the worker process."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from pathlib import Path

import structlog

from voxtell_dicom.check import findings
from voxtell_dicom.errors import OutOfMemory, VoxtellDicomError
from voxtell_dicom.line.limit import Limit, limit_of
from voxtell_dicom.line.load import arrays_of, load_array, values_of
from voxtell_dicom.line.masks import Answer, load_answers, save_found
from voxtell_dicom.line.plan import Planned, job_id, wants_probabilities
from voxtell_dicom.model import Found, Plan, Prompt, Request, RunReport, Volume, dump, load
from voxtell_dicom.retry import let_pass
from voxtell_dicom.series.volume import all_probabilities_to_frames, all_to_frames
from voxtell_dicom.workers.pool import WorkCancelled, Worker, WorkerDied, WorkerRefused
from voxtell_dicom.workflow.messages import SegmentMessage
from voxtell_dicom.workflow.runtime import Runtime

Answers = Sequence[Sequence[Answer]]  # those of each run of a volume
ATTEMPTS = 3  # where the worker dies, or memory is short
MEMORY_PAUSE_S = 60.0  # before memory is asked for again: others may share the GPU

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Segmented:
    """What the engine answered for each run of a volume, and what it took for all of them."""

    answers: Answers
    report: RunReport | None


def segment_jobs(runtime: Runtime, message: SegmentMessage) -> str:
    """Segment the volume of the jobs of a message: see `segment_plans`."""
    pairs = [runtime.jobs.plan(job) for job in message.jobs]
    plans, volume = tuple(plan for plan, _ in pairs), pairs[0][1]
    arrays = arrays_of(runtime.work_dir / message.folder, volume, values_of(plans[0]))
    return segment_plans(runtime, Planned(volume, plans, arrays), list(message.jobs))


def segment_plans(runtime: Runtime, planned: Planned, jobs: list[str]) -> str:
    """Segment a volume for its plans (`jobs`, one each); leaves a mask file for each job.

    Returns "segmented", "cancelled" (no job is wanted any more) or "failed" (the jobs say why).
    """
    began = time.time()
    if not [job for job in jobs if runtime.jobs.advance(job, "segmenting")]:
        return "cancelled"
    answers = runtime.work_dir / f"{job_id(*jobs)}.answers.json"
    try:
        segmented = _run_engine(runtime, planned, jobs, answers)
        for plan, job in zip(planned.plans, jobs, strict=True):
            found = found_for(plan, planned.volume, segmented.answers)
            findings.save(runtime.masks(job), findings.check(found, planned.volume, planned.arrays))
            save_found(runtime.masks(job), found)
    except WorkCancelled:
        log.info("segmentation stopped: nobody wants it any more", jobs=jobs)
        return "cancelled"
    except VoxtellDicomError as error:
        let_pass(error)
        return _fail(runtime, jobs, error)
    except Exception as error:
        let_pass(error)
        log.exception("segmentation failed", jobs=jobs)
        return _fail(runtime, jobs, error)
    finally:
        answers.unlink(missing_ok=True)
    for array in planned.arrays:
        array.unlink(missing_ok=True)
    run = segmented.report
    for job in jobs:
        runtime.jobs.record_stage(job, "segment", began, time.time() - began, run.in_words() if run else "")
    return "segmented"


def _fail(runtime: Runtime, jobs: list[str], error: Exception) -> str:
    runtime.fail(jobs, error)
    return "failed"


def _run_engine(runtime: Runtime, planned: Planned, jobs: list[str], answers: Path) -> Segmented:
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
            log.warning("worker died", jobs=jobs, attempt=attempt, reason=str(error))
            if attempt == ATTEMPTS:
                raise
        except WorkerRefused as error:
            if error.code != OutOfMemory.code or attempt == ATTEMPTS:
                raise
            log.warning("memory ran out: tried again", jobs=jobs, attempt=attempt, reason=str(error))
            _pause(MEMORY_PAUSE_S * attempt, cancelled)
        spent += time.time() - began
    raise AssertionError  # not reached


def progress_in_words(done: int, total: int, seconds: float) -> str:
    """How far a pass is, and about how long the rest will take: "12/30 windows, about 40 s left"."""
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


def segment_volume(
    planned: Planned,
    worker: Worker,
    *,
    out: Path,
    limit: Limit,
    progress: Callable[[int, int], None],
    cancelled: Callable[[], bool],
) -> Segmented:
    """One pass of the engine for all plans of a volume, run after run, where spacing changes along its stack.

    out: a file for the worker's answers on their way. Raises WorkerDied, WorkerRefused, WorkCancelled, or Refusal where
    it took longer than `limit`.
    """
    runs = planned.volume.runs
    deadline = time.monotonic() + limit.seconds
    answers: list[Sequence[Answer]] = []
    report: RunReport | None = None
    before = done = total = 0

    def count(of_run: int, in_run: int) -> None:
        nonlocal done, total
        done, total = before + of_run, before + in_run
        progress(done, total)

    for run, array in zip(runs, planned.arrays, strict=True):
        if not array.exists():  # another machine's, or cleaned up: made again, the same
            load_array(run, array.parent, values_of(planned.plans[0]), runs)
        try:
            took = _segment_run(planned, run, array, worker, out, deadline, count, cancelled)
        except TimeoutError:
            raise limit.reached(done, total, planned.volume.series_uid) from None
        if took:
            report = report.and_then(took) if report else took
            before = report.windows
        answers.append(load_answers(out))
    return Segmented(tuple(answers), report)


def _segment_run(
    planned: Planned,
    run: Volume,
    array: Path,
    worker: Worker,
    out: Path,
    deadline: float,
    progress: Callable[[int, int], None],
    cancelled: Callable[[], bool],
) -> RunReport | None:
    requests = dict.fromkeys(request_for(plan, prompt) for plan in planned.plans for prompt in plan.prompts)
    task_id, future = worker.submit(
        "segment",
        progress=progress,
        array=str(array),
        spacing_zyx_mm=run.spacing_zyx_mm,
        requests=[dump(request) for request in requests],
        out=str(out),
        within_s=max(deadline - time.monotonic(), 0.0),
    )
    while True:
        try:
            report = future.result(timeout=1)["run"]
            return load(RunReport, report) if report else None
        except FutureTimeout:
            if future.done():
                continue
            if cancelled():
                worker.cancel(task_id)
                raise WorkCancelled("cancelled while segmenting") from None
            if time.monotonic() > deadline:
                worker.stop(timeout_s=1)
                raise TimeoutError from None


def request_for(plan: Plan, prompt: Prompt) -> Request:
    """What the engine is asked for a prompt of a plan. Equal requests of several rules are computed once."""
    group = f"{plan.rule}: {prompt.exclusive_group}" if prompt.exclusive_group else ""  # rules do not share groups
    return Request(
        prompt.text,
        prompt.threshold,
        probability=wants_probabilities(plan),
        cleanup=prompt.cleanup,
        exclusive_group=group,
        resampling=prompt.resampling,
    )


def found_for(plan: Plan, volume: Volume, answers: Answers) -> tuple[Found, ...]:
    """The masks of one plan, brought back on the source frames, in the order of its prompts.

    answers: those for each run of the volume. What is said of a mask (probability, uncertainty) is the mean over the
    runs that it has voxels in, by their voxels.
    """
    by_request = [{answer.request: answer for answer in of_run} for of_run in answers]
    found: list[Found] = []
    for prompt in plan.prompts:
        of_runs = [each[request_for(plan, prompt)] for each in by_request]
        mask = all_to_frames([answer.mask for answer in of_runs], volume)
        voxels = [answer.mask.voxels for answer in of_runs]
        probability = _mean([answer.mean_probability for answer in of_runs], voxels)
        uncertain = _mean([answer.uncertain_share for answer in of_runs], voxels)
        maps = [answer.probabilities for answer in of_runs if answer.probabilities]
        soft = all_probabilities_to_frames(maps, volume) if maps else None
        found.append(Found(prompt, mask, probability, uncertain, probabilities=soft))
    return tuple(found)


def _mean(values: Sequence[float | None], voxels: Sequence[int]) -> float | None:
    if len(values) == 1:
        return values[0]
    known = [(value, count) for value, count in zip(values, voxels, strict=True) if value is not None and count]
    return sum(value * count for value, count in known) / sum(count for _, count in known) if known else None

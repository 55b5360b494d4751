"""Segment: one pass of the engine for all plans of a volume, and its masks back on the source frames."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from voxtell_dicom.errors import VoxtellDicomError
from voxtell_dicom.line.limit import Limit
from voxtell_dicom.line.load import load_array
from voxtell_dicom.line.masks import Answer, load_answers
from voxtell_dicom.line.plan import Planned, wants_probabilities
from voxtell_dicom.model import Engine, Found, Plan, Progress, Prompt, Request, RunReport, Volume, dump, load
from voxtell_dicom.series.volume import FloatArray, all_probabilities_to_frames, all_to_frames, to_frames

Answers = Sequence[Sequence[Answer]]  # those of each run of a volume


class WorkCancelled(VoxtellDicomError):
    """The work was cancelled before its end."""

    code = "cancelled"


class Session(Protocol):
    """A loaded engine that takes one request after the other (`workers.pool.Worker`)."""

    def submit(self, op: str, *, progress: Progress | None = None, **fields: Any) -> tuple[str, Future[dict[str, Any]]]:
        """Send a request. Returns its id and the future of its answer."""

    def cancel(self, task_id: str) -> None:
        """Ask for a cancellation: it takes effect before the next window."""

    def stop(self, timeout_s: float = 5) -> None:
        """End the engine's process."""


@dataclass(frozen=True)
class Segmented:
    """The answers of the engine for each run of a volume, and the cost of all of them."""

    answers: Answers
    report: RunReport | None


def segment_volume(
    planned: Planned,
    worker: Session,
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
            load_array(run, array.parent, planned.plans[0].options.values, runs)
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
    worker: Session,
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


def segment_in_process(plan: Plan, runs: Sequence[tuple[Volume, FloatArray]], engine: Engine) -> Answers:
    """Run an engine of this process on the RAS arrays of a volume's runs, for one plan without probabilities."""
    requests = list(dict.fromkeys(request_for(plan, prompt) for prompt in plan.prompts))
    return [
        [
            Answer(segment.request, segment.mask, segment.mean_probability, segment.uncertain_share)
            for segment in engine.segment(
                array, run.spacing_zyx_mm, requests, progress=lambda _done, _all: None, cancelled=lambda: False
            )
        ]
        for run, array in runs
    ]


def request_for(plan: Plan, prompt: Prompt) -> Request:
    """Return the request to the engine for a prompt of a plan. Equal requests of several rules are computed once."""
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
        masks = [answer.mask for answer in of_runs]
        mask = all_to_frames(masks, volume) if volume.parts else to_frames(masks[0], volume)
        voxels = [each.voxels for each in masks]
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

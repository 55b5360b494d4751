"""What each stage of the line does, as plain functions of values: no durable engine here, so each can be tested alone.

Every one may be repeated after a crash and must then come to the same result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from voxtell_dicom.config import Config, Rule
from voxtell_dicom.errors import Refusal
from voxtell_dicom.model import Assembly, Found, Outcome, Plan, Result, Series, Volume, canonical_digest
from voxtell_dicom.rules.match import Match, match
from voxtell_dicom.series.headers import assemble
from voxtell_dicom.series.volume import load_volume, to_frames
from voxtell_dicom.workflow.masks import load_answers
from voxtell_dicom.workflow.workers import WorkCancelled, Worker


@dataclass(frozen=True)
class Planned:
    """A volume with the plans that one pass of the engine will serve, and where its array lies."""

    volume: Volume
    plans: tuple[Plan, ...]
    array: Path


@dataclass(frozen=True)
class Planning:
    """What a series came to: the volumes to segment, and why the rest is not."""

    planned: tuple[Planned, ...]
    assembly: Assembly
    matches: tuple[Match, ...]  # of every volume with every rule, for the log


def headers_of(volume: Volume) -> list[pydicom.Dataset]:
    """The headers of a volume's instances, each once, in frame order."""
    paths = dict.fromkeys(frame.path for frame in volume.frames)
    return [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]


def facts_of(series: Series) -> dict[str, Any]:
    """The facts that rules may ask for beside DICOM keywords."""
    return {"instances": len(series.instances), "calling_ae": series.calling_ae, "called_ae": series.called_ae}


def plan_series(
    series: Series,
    rules: Sequence[Rule],
    *,
    engine_identity: str,
    encoder_revision: str,
    work_dir: Path,
    options: dict[str, Any],
) -> Planning:
    """Headers → volumes → rules; decode the volumes that a rule wants, and write their arrays for the worker.

    Raises Refusal where the series as a whole cannot be trusted (patients or studies mixed).
    """
    assembly = assemble(series)
    facts = facts_of(series)
    matches = [match(rules, headers_of(volume), facts) for volume in assembly.volumes]
    chosen = [_chosen(index, assembly.volumes, matches) for index in range(len(rules))]
    planned: list[Planned] = []
    for position, volume in enumerate(assembly.volumes):
        met = [found for found in matches[position] if found.met and chosen[found.rule_index] == position]
        if met:
            keyed, array = load_array(volume, work_dir)
            plans = [_plan(found, keyed, engine_identity, encoder_revision, options) for found in met]
            planned.append(Planned(keyed, tuple(plans), array))
    return Planning(tuple(planned), assembly, tuple(found for some in matches for found in some))


def _chosen(rule: int, volumes: Sequence[Volume], matches: Sequence[Sequence[Match]]) -> int | None:
    """Of several volumes of one series that meet a rule: the largest, then the first. Its position."""
    met = [position for position in range(len(volumes)) if matches[position][rule].met]
    return max(met, key=lambda position: int(np.prod(volumes[position].grid.shape)), default=None)


def _plan(found: Match, volume: Volume, engine_identity: str, encoder_revision: str, options: dict[str, Any]) -> Plan:
    return Plan(
        volume_key=volume.key,
        rule=found.rule,
        rule_index=found.rule_index,
        prompts=found.prompts,
        outputs=found.outputs,
        send_to=found.send_to,
        engine_identity=engine_identity,
        encoder_revision=encoder_revision,
        options=options,
    )


def load_array(volume: Volume, work_dir: Path) -> tuple[Volume, Path]:
    """Decode a volume: returns it with its key, and the file that holds its RAS array for the worker."""
    array, volume = load_volume(volume)
    path = work_dir / f"{volume.key}.npy"
    if not path.exists():
        work_dir.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp.npy")
        np.save(temporary, array)
        temporary.replace(path)
    return volume, path


def segment_volume(
    planned: Planned,
    worker: Worker,
    *,
    out: Path,
    timeout_s: float,
    progress: Callable[[int, int], None],
    cancelled: Callable[[], bool],
) -> None:
    """One pass of the engine for all plans of a volume; the answers go to `out`.

    Raises WorkerDied, WorkerRefused, WorkCancelled, or Refusal where it took longer than `timeout_s`.
    """
    if not planned.array.exists():  # another machine's, or cleaned up: made again, the same
        load_array(planned.volume, planned.array.parent)
    requests = {(prompt.text, prompt.threshold) for plan in planned.plans for prompt in plan.prompts}
    task_id, future = worker.submit(
        "segment",
        progress=progress,
        array=str(planned.array),
        spacing_zyx_mm=planned.volume.spacing_zyx_mm,
        requests=[{"prompt": text, "threshold": threshold} for text, threshold in sorted(requests)],
        out=str(out),
    )
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            future.result(timeout=1)
            return
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


def found_for(plan: Plan, volume: Volume, answers: Path) -> tuple[Found, ...]:
    """The masks of one plan, brought back on the source frames, in the order of its prompts."""
    by_request = {(answer.prompt, answer.threshold): answer for answer in load_answers(answers)}
    found: list[Found] = []
    for prompt in plan.prompts:
        answer = by_request[prompt.text, prompt.threshold]
        found.append(Found(prompt, to_frames(answer.mask, volume), answer.mean_probability, answer.uncertain_share))
    return tuple(found)


def results_warnings(results: Sequence[Result]) -> tuple[str, ...]:
    """All warnings of some results, each once."""
    return tuple(dict.fromkeys(warning for result in results for warning in result.warnings))


def job_id(*parts: Any) -> str:
    """A short, deterministic name for a job: 16 hex digits."""
    return canonical_digest(list(parts))[:16]


def with_run(plan: Plan, run: int) -> Plan:
    """The plan as a new run: same work, new UIDs."""
    return replace(plan, run=run)


def accession_of(volume: Volume) -> str:
    """The accession number in the newest headers of a volume, "" where there is none."""
    header = pydicom.dcmread(volume.frames[0].path, stop_before_pixels=True, specific_tags=["AccessionNumber"])
    return str(header.get("AccessionNumber", "") or "")


def give_up(outcome: Outcome, config: Config, since: float) -> Outcome:
    """Turn "try again" into "failed" where `delivery.give_up_after_h` has passed since the job was opened."""
    limit_h = config.delivery.give_up_after_h
    if outcome.state != "retry" or limit_h is None or time.time() - since < limit_h * 3600:
        return outcome
    return replace(outcome, state="failed", message=f"given up after {limit_h:g} h: {outcome.message}")


def retry_delay_s(config: Config, attempt: int) -> float:
    """Seconds until attempt `attempt` + 1: doubles from the first to the longest."""
    delivery = config.delivery
    return float(min(delivery.first_retry_s * 2 ** (attempt - 1), delivery.longest_retry_s))

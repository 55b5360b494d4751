"""Another object in the place of one that a peer refuses, as its `fallback` says; the book and the log say so.

It has UIDs of its own and is encoded once, as every result is; so the masks are kept until all has arrived.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import structlog

from voxtell_dicom.encode import SEGMENTATIONS, encode_instead, profile_of
from voxtell_dicom.errors import VoxtellDicomError
from voxtell_dicom.model import Outcome, Result, load
from voxtell_dicom.workflow.deliver import delivery_inputs
from voxtell_dicom.workflow.findings import drop_masks
from voxtell_dicom.workflow.publish import material
from voxtell_dicom.workflow.runtime import Runtime

log = structlog.get_logger(__name__)


def after_refusal(runtime: Runtime, job: str, result: Result, peer: str, outcome: Outcome) -> Outcome:
    """The outcome of a refused delivery: ``replaced`` where something is sent instead, else failed, and what to do.

    What is sent instead then stands among the results of the job, for `instead`.
    """
    if not outcome.refused or result.kind not in SEGMENTATIONS:
        return outcome
    if not profile_of(runtime.config.peers.get(peer)).fallback:
        return _failed(outcome, "or give the peer a 'fallback' (docs/viewers.md) and run 'jobs rerun'")
    if not runtime.masks(job).exists():
        return _failed(outcome, "or run 'jobs rerun': the masks, of which its fallback is made, are gone")
    refused = runtime.jobs.replaced(job, peer) | {result.sop_instance_uid}
    plan, volume, found, _, _ = material(runtime, job)
    try:
        made = encode_instead(
            plan,
            volume,
            found,
            result.kind,
            peer,
            refused,
            config=runtime.config,
            directory=runtime.results_dir,
        )
    except VoxtellDicomError as error:
        return _failed(outcome, f"its fallback could not be made: {error.code}: {error}")
    if not made:
        return _failed(outcome, "and nothing is left of the peer's 'fallback'")
    runtime.remember_own([uid for each in made for uid in (each.sop_instance_uid, each.series_uid)])
    runtime.jobs.add_results(job, made)
    sent = ", ".join(f"{each.kind.upper()} {each.sop_instance_uid}" for each in made)
    name = f"{result.kind.upper()} {result.sop_instance_uid}"
    message = f"{name} is refused by peer '{peer}' ({outcome.status}); in its place goes {sent}"
    return Outcome("replaced", outcome.status, message)


def instead(runtime: Runtime, job: str, peer: str) -> list[dict[str, Any]]:
    """The inputs of `deliver` for what has not been tried at this peer yet."""
    row = runtime.jobs.get(job)
    results = [load(Result, result) for result in row["results"]] if row else []
    fresh = [
        replace(result, peers=(peer,))
        for result in results
        if peer in result.peers and not runtime.jobs.last_attempt(job, result.sop_instance_uid, peer)
    ]
    return delivery_inputs(job, fresh, [peer])


def tidy(runtime: Runtime, job: str) -> None:
    """Drop the masks of a job and the findings about them, unless a peer's fallback may need them yet."""
    plan, _ = runtime.jobs.plan(job)
    waiting = runtime.jobs.state(job) in ("delivering", "held", "failed")
    if waiting and any(profile_of(runtime.config.peers.get(name)).fallback for name in plan.send_to):
        return
    drop_masks(runtime.work_dir, job)


def _failed(outcome: Outcome, more: str) -> Outcome:
    return replace(outcome, message=f"{outcome.message}; {more}")

"""Another object in the place of one that a peer refuses; the book and the log say so.

In the place of a segmentation, what the peer's `fallback` says; in that of a receipt, the same in its other form. It
has UIDs of its own and is encoded once, as every result is; so the masks are kept until all has arrived.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import structlog

from voxtell_dicom.check.findings import drop_masks
from voxtell_dicom.encode import RECEIPTS, SEGMENTATIONS, encode_instead, in_other_form, profile_of
from voxtell_dicom.errors import VoxtellDicomError
from voxtell_dicom.model import Outcome, Result
from voxtell_dicom.workflow.messages import DeliverMessage, deliveries, notices
from voxtell_dicom.workflow.publish import material
from voxtell_dicom.workflow.runtime import Runtime

log = structlog.get_logger(__name__)


def after_refusal(
    runtime: Runtime, job: str, result: Result, peer: str, outcome: Outcome, notice: bool = False
) -> Outcome:
    """The outcome of a refused delivery: ``replaced`` where something is sent instead, else failed, and what to do.

    What is sent instead then stands among the results of the job, or its notices, for `instead`. A receipt that the
    peer takes in no form is ``refused``, where it goes with a result: that is what counts.
    """
    if not outcome.refused:
        return outcome
    if result.kind in RECEIPTS:
        return _receipt(runtime, job, result, peer, outcome, notice)
    if result.kind in SEGMENTATIONS:
        return _segmentation(runtime, job, result, peer, outcome)
    return outcome


def _segmentation(runtime: Runtime, job: str, result: Result, peer: str, outcome: Outcome) -> Outcome:
    if not profile_of(runtime.config.peers.get(peer)).fallback:
        return _failed(outcome, "or give the peer a 'fallback' (docs/viewers.md) and run 'jobs rerun'")
    if not runtime.masks(job).exists():
        return _failed(outcome, "or run 'jobs rerun': the masks, of which its fallback is made, are gone")
    refused = runtime.jobs.replaced(job, peer) | {result.sop_instance_uid}
    plan, volume, found, _ = material(runtime, job)
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
    runtime.jobs.add_results(job, made)
    return _replaced(runtime, result, peer, outcome, made)


def _receipt(runtime: Runtime, job: str, result: Result, peer: str, outcome: Outcome, notice: bool) -> Outcome:
    other = in_other_form(result)
    if other is None or other.sop_instance_uid in runtime.jobs.replaced(job, peer):
        why = f"peer '{peer}' takes receipts neither as Secondary Capture nor as Basic Text SR"
        if notice or not _gets_more(runtime, job, peer):
            return _failed(outcome, f"{why}: nothing tells there what became of the work; see 'receipt' of the rule")
        return Outcome("refused", outcome.status, f"{why} ({outcome.status}): its results go without a receipt")
    if notice:
        runtime.jobs.add_notice(job, other, peer)
    else:
        runtime.jobs.add_results(job, [replace(other, peers=(peer,))])
    return _replaced(runtime, result, peer, outcome, [other])


def _gets_more(runtime: Runtime, job: str, peer: str) -> bool:
    """Whether a job has objects for a peer besides receipts."""
    row = runtime.jobs.get(job)
    results = row.results if row else ()
    return any(peer in (result.peers or (peer,)) for result in results if result.kind not in RECEIPTS)


def _replaced(runtime: Runtime, result: Result, peer: str, outcome: Outcome, made: Sequence[Result]) -> Outcome:
    runtime.remember_own([uid for each in made for uid in (each.sop_instance_uid, each.series_uid)])
    sent = ", ".join(_name(each) for each in made)
    message = f"{_name(result)} is refused by peer '{peer}' ({outcome.status}); in its place goes {sent}"
    return Outcome("replaced", outcome.status, message)


def _name(result: Result) -> str:
    return f"{result.kind.upper()} {result.sop_instance_uid}"


def instead(runtime: Runtime, job: str, peer: str, *, notice: bool = False) -> list[DeliverMessage]:
    """The messages to `deliver` for what has not been tried at this peer yet."""
    if notice:
        return [item for item in notices(runtime.jobs, job) if (item.peer, item.attempt) == (peer, 1)]
    row = runtime.jobs.get(job)
    results = row.results if row else ()
    fresh = [
        replace(result, peers=(peer,))
        for result in results
        if peer in result.peers and not runtime.jobs.last_attempt(job, result.sop_instance_uid, peer)
    ]
    return deliveries(job, fresh, [peer])


def tidy(runtime: Runtime, job: str) -> None:
    """Drop the masks of a job and the findings about them, unless a peer's fallback may need them yet."""
    plan, _ = runtime.jobs.plan(job)
    waiting = runtime.jobs.state(job) in ("delivering", "held", "failed")
    if waiting and any(profile_of(runtime.config.peers.get(name)).fallback for name in plan.send_to):
        return
    drop_masks(runtime.work_dir, job)


def _failed(outcome: Outcome, more: str) -> Outcome:
    return replace(outcome, message=f"{outcome.message}; {more}")

"""The durable shell around `line.fallback`: which refused deliveries are replaced, and what book and log say of it.

The masks of a job are kept until all of its objects have arrived, because a fallback is encoded from them.
"""

from __future__ import annotations

from dataclasses import replace

from voxtell_dicom.encode import RECEIPTS, OutputContext, output_context, profile_of
from voxtell_dicom.line.fallback import receipt_fallback, segmentation_fallback
from voxtell_dicom.line.masks import drop_masks
from voxtell_dicom.model import Outcome, Result
from voxtell_dicom.workflow.deliver import RE_ENCODE, log_outcomes, results_of
from voxtell_dicom.workflow.messages import DeliverMessage, deliveries, notices
from voxtell_dicom.workflow.publish import judged_of
from voxtell_dicom.workflow.runtime import Runtime


def encode_again(runtime: Runtime, message: DeliverMessage) -> list[DeliverMessage]:
    """Encode another object in the place of each that the peer refuses; `message` is that of the `deliver`.

    Returns the messages to `deliver` for what the peer has not been sent yet. A refused object for which there is
    nothing else has failed, and its message says what to do.
    """
    job, peer, notice = message.job, message.peer, message.notice
    waiting = results_of(runtime.jobs, message, RE_ENCODE)
    outcomes = [_replaced(runtime, message, result) for result in waiting]
    for result, outcome in zip(waiting, outcomes, strict=True):
        attempt = runtime.jobs.last_attempt(job, result.sop_instance_uid, peer)
        runtime.jobs.record_delivery(job, result.sop_instance_uid, peer, attempt, outcome)
    log_outcomes(message, waiting, outcomes)
    if not notice:
        runtime.jobs.settle(job)
    return _unsent(runtime, job, peer, notice=notice)


def _replaced(runtime: Runtime, message: DeliverMessage, result: Result) -> Outcome:
    """The outcome of a refused delivery: ``replaced`` where another object is sent instead, else ``failed``.

    A receipt that the peer takes in no form is ``refused`` where the peer gets objects of the job besides.
    """
    job, peer, notice = message.job, message.peer, message.notice
    refusal = runtime.jobs.last_outcome(job, result.sop_instance_uid, peer)
    tried = runtime.jobs.replaced(job, peer)
    if result.kind in RECEIPTS:
        made = receipt_fallback(result, peer, tried)
        if not made.results and not notice and _gets_more(runtime, job, peer):
            reason = f"{made.reason} ({refusal.status}): its results go without a receipt"
            return Outcome("refused", refusal.status, reason)
        unsent = f"{made.reason}: nothing tells there what became of the work; see 'receipt' of the rule"
    else:
        context = _context(runtime, job) if runtime.masks(job).exists() else None
        made = segmentation_fallback(result, peer, tried, context, runtime.config)
        unsent = made.reason
    if not made.results:
        return replace(refusal, state="failed", message=f"{refusal.message}; {unsent}")
    if notice:
        for other in made.results:
            runtime.jobs.add_notice(job, other, peer)
    else:
        runtime.jobs.add_results(job, made.results)
    runtime.archive.remember_own([uid for other in made.results for uid in (other.sop_instance_uid, other.series_uid)])
    sent = ", ".join(_name(other) for other in made.results)
    words = f"{_name(result)} is refused by peer '{peer}' ({refusal.status}); in its place goes {sent}"
    return Outcome("replaced", refusal.status, words)


def _context(runtime: Runtime, job: str) -> OutputContext:
    judged = judged_of(runtime, job)
    volume, headers = judged.volume, runtime.headers.of(judged.volume.series_uid)
    return output_context(
        judged.plan, volume, judged.found, config=runtime.config, directory=runtime.results_dir, headers=headers
    )


def _gets_more(runtime: Runtime, job: str, peer: str) -> bool:
    """Return whether a job has objects for a peer besides receipts."""
    results = _results(runtime, job)
    return any(peer in (result.peers or (peer,)) for result in results if result.kind not in RECEIPTS)


def _results(runtime: Runtime, job: str) -> tuple[Result, ...]:
    row = runtime.jobs.get(job)
    return row.results if row else ()


def _name(result: Result) -> str:
    return f"{result.kind.upper()} {result.sop_instance_uid}"


def _unsent(runtime: Runtime, job: str, peer: str, *, notice: bool) -> list[DeliverMessage]:
    """Return the messages to `deliver` for what has not been tried at this peer yet."""
    if notice:
        return [item for item in notices(runtime.jobs, job) if (item.peer, item.attempt) == (peer, 1)]
    fresh = [
        replace(result, peers=(peer,))
        for result in _results(runtime, job)
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

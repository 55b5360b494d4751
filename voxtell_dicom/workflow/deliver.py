"""What `deliver` does: one attempt to send an object, or the objects of one series, to one peer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import structlog

from voxtell_dicom.config import Config
from voxtell_dicom.deliver import deliver_all
from voxtell_dicom.jobs.book import JobBook
from voxtell_dicom.line.fallback import REPLACEABLE
from voxtell_dicom.model import DeliveryState, Outcome, Result
from voxtell_dicom.model.states import STOPPED
from voxtell_dicom.workflow.commitment import deliver_committed
from voxtell_dicom.workflow.correction import CORRECTED, corrected_series, has_settled
from voxtell_dicom.workflow.messages import DeliverMessage
from voxtell_dicom.workflow.runtime import Runtime

RE_ENCODE = DeliveryState.RE_ENCODE
# Of several objects, the first of these that one is in.
STATES = (
    DeliveryState.RETRY,
    DeliveryState.RE_ENCODE,
    DeliveryState.REPLACED,
    DeliveryState.FAILED,
    DeliveryState.REFUSED,
)

log = structlog.get_logger(__name__)


def send(runtime: Runtime, message: DeliverMessage) -> str:
    """Try once. Returns the state of the outcome, or "cancelled" where the job is wanted no more.

    CORRECTED where headers of the series were corrected since: `correction.replace_job` decides on it, nothing is sent.
    While they are still coming, it is tried again.

    Of several objects the first of STATES that one of them is in: "retry" where one is to be sent again (then only
    those that are), `RE_ENCODE` where the peer refuses one that may be encoded otherwise: `fallback.encode_again`
    decides on it. The receipt of a job without a result (``notice``) leaves the job's state as it is.
    """
    job, peer, notice = message.job, message.peer, message.notice
    if runtime.jobs.state(job) in (("", "cancelled") if notice else ("", *STOPPED)):
        return "cancelled"
    known = None if notice else runtime.jobs.get(job)
    if known and corrected_series(runtime, known):
        return CORRECTED if has_settled(runtime, known) else DeliveryState.RETRY
    began = time.time()
    results = results_of(runtime.jobs, message, None if len(message.uids) == 1 else DeliveryState.RETRY)
    outcomes = [
        replace(outcome, state=RE_ENCODE) if outcome.refused and result.kind in REPLACEABLE else outcome
        for result, outcome in zip(results, _tried(runtime, job, peer, results), strict=True)
    ]
    for result, outcome in zip(results, outcomes, strict=True):
        runtime.jobs.record_delivery(job, result.sop_instance_uid, peer, message.attempt, with_detail(outcome))
    log_outcomes(message, results, outcomes)
    statuses = ", ".join(dict.fromkeys(outcome.status for outcome in outcomes))
    runtime.jobs.record_stage(job, f"deliver {peer} {message.attempt}", began, time.time() - began, statuses)
    if not notice:
        runtime.jobs.settle(job)
    last = runtime.jobs.last_states(job, peer)  # not only of this call: a crash may have come after some of it
    states = {last.get(uid) for uid in message.uids}
    return next((state for state in STATES if state in states), "delivered")


def with_detail(outcome: Outcome) -> Outcome:
    """Return an outcome as it is stored: what the peer said besides is part of its message."""
    if not outcome.detail:
        return outcome
    return replace(outcome, message=f"{outcome.message}; the peer says: {outcome.detail}", detail="")


def results_of(jobs: JobBook, message: DeliverMessage, state: DeliveryState | None) -> list[Result]:
    """Return the objects of a message whose newest attempt ended in `state`, None for all.

    RETRY includes those that were never tried.
    """
    job = jobs.get(message.job)
    known = [found for uid in message.uids if job and (found := job.result(uid))]
    if state is None:
        return known
    last = jobs.last_states(message.job, message.peer)
    return [result for result in known if last.get(result.sop_instance_uid, DeliveryState.RETRY) == state]


def _tried(runtime: Runtime, job: str, peer_name: str, results: Sequence[Result]) -> list[Outcome]:
    peer = runtime.config.peers.get(peer_name)
    if peer is None:
        gone = Outcome("failed", "no such peer", f"peer {peer_name!r} is not in node.yaml any more")
        return [gone for _ in results]
    if peer.commit:
        sent = deliver_committed(runtime, job, peer_name, peer, results)
    else:
        sent = deliver_all(results, peer, name=peer_name, calling_ae=runtime.config.node.ae_title)
    since = runtime.jobs.created(job)
    return [_give_up(outcome, runtime.config, since) for outcome in sent]


def log_outcomes(message: DeliverMessage, results: Sequence[Result], outcomes: Sequence[Outcome]) -> None:
    """Log one line for each different outcome: of a series of hundreds not one for each object.

    What is to be encoded otherwise is logged when that is decided.
    """
    alike: dict[tuple[str, str], list[tuple[Result, Outcome]]] = {}
    for result, outcome in zip(results, outcomes, strict=True):
        alike.setdefault((outcome.state, outcome.status), []).append((result, outcome))
    for (state, status), some in alike.items():
        if state == RE_ENCODE:
            continue
        (result, outcome), more = some[0], len(some) - 1
        report = log.info if state == "delivered" else log.warning
        report(
            f"delivery {state}",
            job=message.job,
            peer=message.peer,
            attempt=message.attempt,
            status=status,
            sop_instance_uid=result.sop_instance_uid,
            reason=outcome.message,
            **({"more_of_its_series": more} if more else {}),
        )


def _give_up(outcome: Outcome, config: Config, since: float) -> Outcome:
    """Turn "try again" into "failed" where `delivery.give_up_after_h` has passed since the job was opened."""
    limit_h = config.delivery.give_up_after_h
    if outcome.state != "retry" or limit_h is None or time.time() - since < limit_h * 3600:
        return outcome
    return replace(outcome, state="failed", message=f"given up after {limit_h:g} h: {outcome.message}")


def retry_delay_s(config: Config, attempt: int) -> float:
    """Return the seconds until attempt `attempt` + 1: `first_retry_s`, doubled each time up to `longest_retry_s`."""
    delivery = config.delivery
    doublings = min(attempt - 1, 64)  # a float holds no more than some thousand, and no delay needs as many
    return min(delivery.first_retry_s * 2.0**doublings, delivery.longest_retry_s)

"""What `deliver` does: one attempt to send an object, or the objects of one series, to one peer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from voxtell_dicom.config import Config
from voxtell_dicom.deliver import deliver_all
from voxtell_dicom.jobs.book import JobBook
from voxtell_dicom.model import Outcome, Result
from voxtell_dicom.model.states import STOPPED
from voxtell_dicom.workflow.messages import DeliverMessage
from voxtell_dicom.workflow.runtime import Runtime

log = structlog.get_logger(__name__)


AfterRefusal = Callable[[Runtime, str, Result, str, Outcome, bool], Outcome]  # the last: it is a notice


def send(
    runtime: Runtime,
    message: DeliverMessage,
    after_refusal: AfterRefusal,
) -> str:
    """Try once. Returns the state of the outcome, or "cancelled" where the job is wanted no more.

    Of several objects "retry" where one is to be sent again: then only those that are. after_refusal: makes what goes
    in the place of what the peer refuses, and the outcome that says so. The receipt of a job without a result
    (``notice``) leaves the job's state as it is.
    """
    job, peer_name, notice = message.job, message.peer, message.notice
    if runtime.jobs.state(job) in (("", "cancelled") if notice else ("", *STOPPED)):
        return "cancelled"
    began = time.time()
    results = _to_send(runtime.jobs, message)
    outcomes = [
        after_refusal(runtime, job, result, peer_name, outcome, notice)
        for result, outcome in zip(results, _tried(runtime, job, peer_name, results), strict=True)
    ]
    for result, outcome in zip(results, outcomes, strict=True):
        runtime.jobs.record_delivery(job, result.sop_instance_uid, peer_name, message.attempt, outcome)
    _report(message, results, outcomes)
    statuses = ", ".join(dict.fromkeys(outcome.status for outcome in outcomes))
    runtime.jobs.record_stage(job, f"deliver {peer_name} {message.attempt}", began, time.time() - began, statuses)
    if not notice:
        runtime.jobs.settle(job)
    last = runtime.jobs.last_states(job, peer_name)  # not only of this call: a crash may have come after some of it
    states = {last.get(uid) for uid in message.uids}
    return next((state for state in ("retry", "replaced", "failed", "refused") if state in states), "delivered")


def _to_send(jobs: JobBook, message: DeliverMessage) -> list[Result]:
    """The objects of a message; of several those that have not arrived, nor failed for good."""
    job = jobs.get(message.job)
    known = [found for uid in message.uids if job and (found := job.result(uid))]
    if len(message.uids) == 1:
        return known
    last = jobs.last_states(message.job, message.peer)
    return [result for result in known if last.get(result.sop_instance_uid, "retry") == "retry"]


def _tried(runtime: Runtime, job: str, peer_name: str, results: Sequence[Result]) -> list[Outcome]:
    peer = runtime.config.peers.get(peer_name)
    if peer is None:
        gone = Outcome("failed", "no such peer", f"peer {peer_name!r} is not in node.yaml any more")
        return [gone for _ in results]
    sent = deliver_all(results, peer, name=peer_name, calling_ae=runtime.config.node.ae_title)
    since = runtime.jobs.created(job)
    return [_give_up(outcome, runtime.config, since) for outcome in sent]


def _report(message: DeliverMessage, results: Sequence[Result], outcomes: Sequence[Outcome]) -> None:
    """A line for each that differs: of a series of hundreds not one for each object."""
    alike: dict[tuple[str, str], list[tuple[Result, Outcome]]] = {}
    for result, outcome in zip(results, outcomes, strict=True):
        alike.setdefault((outcome.state, outcome.status), []).append((result, outcome))
    for (state, status), some in alike.items():
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
    """Seconds until attempt `attempt` + 1: doubles from the first to the longest."""
    delivery = config.delivery
    return float(min(delivery.first_retry_s * 2 ** (attempt - 1), delivery.longest_retry_s))

"""What `deliver` does: one attempt to send one object to one peer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import structlog

from voxtell_dicom.config import Config
from voxtell_dicom.deliver import deliver
from voxtell_dicom.model import Outcome, Result, dump
from voxtell_dicom.workflow.jobs import STOPPED, JobBook
from voxtell_dicom.workflow.runtime import FORMAT, Runtime

log = structlog.get_logger(__name__)


def delivery_inputs(
    job: str, results: Iterable[Result], peers: Iterable[str], attempt: int = 1
) -> list[dict[str, Any]]:
    """The inputs of `deliver` for every object and peer of its own; `peers` for one that names none."""
    everyone = list(peers)
    return [
        {"v": FORMAT, "job": job, "result": dump(result), "peer": peer, "attempt": attempt}
        for result in results
        for peer in result.peers or everyone
    ]


AfterRefusal = Callable[[Runtime, str, Result, str, Outcome, bool], Outcome]  # the last: it is a notice


def notice_inputs(jobs: JobBook, job: str) -> list[dict[str, Any]]:
    """The same of the receipts of a job without a result, where they have not arrived."""
    inputs = []
    for result, peer in jobs.untold(job):
        attempt = jobs.last_attempt(job, result.sop_instance_uid, peer) + 1
        inputs += [{**item, "notice": True} for item in delivery_inputs(job, [result], [peer], attempt)]
    return inputs


def send(
    runtime: Runtime,
    job: str,
    result: Result,
    peer_name: str,
    attempt: int,
    after_refusal: AfterRefusal,
    *,
    notice: bool = False,
) -> str:
    """Try once. Returns the state of the outcome, or "cancelled" where the job is wanted no more.

    after_refusal: makes what goes in the place of what the peer refuses, and the outcome that says so. notice: it is
    the receipt of a job without a result, whose state it leaves as it is.
    """
    if runtime.jobs.state(job) in (("", "cancelled") if notice else ("", *STOPPED)):
        return "cancelled"
    began = time.time()
    peer = runtime.config.peers.get(peer_name)
    if peer is None:
        outcome = Outcome("failed", "no such peer", f"peer {peer_name!r} is not in node.yaml any more")
    else:
        outcome = deliver(result, peer, name=peer_name, calling_ae=runtime.config.node.ae_title)
    outcome = _give_up(outcome, runtime.config, runtime.jobs.created(job))
    outcome = after_refusal(runtime, job, result, peer_name, outcome, notice)
    runtime.jobs.record_delivery(job, result.sop_instance_uid, peer_name, attempt, outcome)
    runtime.jobs.record_stage(job, f"deliver {peer_name} {attempt}", began, time.time() - began, outcome.status)
    if not notice:
        runtime.jobs.settle(job)
    report = log.info if outcome.state == "delivered" else log.warning
    report(
        "delivery " + outcome.state,
        job=job,
        peer=peer_name,
        attempt=attempt,
        status=outcome.status,
        sop_instance_uid=result.sop_instance_uid,
        reason=outcome.message,
    )
    return outcome.state


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

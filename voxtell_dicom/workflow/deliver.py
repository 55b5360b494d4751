"""What `deliver` does: one attempt to send an object, or the objects of one series, to one peer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import structlog

from voxtell_dicom.config import Config
from voxtell_dicom.deliver import deliver_all
from voxtell_dicom.jobs.book import STOPPED, JobBook
from voxtell_dicom.model import Outcome, Result, dump, load
from voxtell_dicom.workflow.runtime import FORMAT, Runtime

log = structlog.get_logger(__name__)


def delivery_inputs(
    job: str, results: Iterable[Result], peers: Iterable[str], attempt: int = 1
) -> list[dict[str, Any]]:
    """The inputs of `deliver` for every object and peer of its own; `peers` for one that names none.

    The objects of one series go together: one association for hundreds of images, not hundreds.
    """
    everyone = list(peers)
    together: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        for peer in result.peers or everyone:
            together.setdefault((result.series_uid, peer), []).append(result)
    return [
        {"v": FORMAT, "job": job, "result": dump(first), "peer": peer, "attempt": attempt}
        | ({"more": [result.sop_instance_uid for result in more]} if more else {})
        for (_, peer), (first, *more) in together.items()
    ]


def uids_of(item: dict[str, Any]) -> list[str]:
    """SOP Instance UIDs of the objects that an input of `deliver` is about."""
    return [item["result"]["sop_instance_uid"], *item.get("more", ())]


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
    item: dict[str, Any],
    after_refusal: AfterRefusal,
) -> str:
    """Try once. Returns the state of the outcome, or "cancelled" where the job is wanted no more.

    Of several objects "retry" where one is to be sent again: then only those that are. after_refusal: makes what goes
    in the place of what the peer refuses, and the outcome that says so. The receipt of a job without a result
    (``notice``) leaves the job's state as it is.
    """
    job, peer_name, notice = item["job"], item["peer"], bool(item.get("notice"))
    if runtime.jobs.state(job) in (("", "cancelled") if notice else ("", *STOPPED)):
        return "cancelled"
    began = time.time()
    results = _to_send(runtime.jobs, item)
    outcomes = [
        after_refusal(runtime, job, result, peer_name, outcome, notice)
        for result, outcome in zip(results, _tried(runtime, job, peer_name, results), strict=True)
    ]
    for result, outcome in zip(results, outcomes, strict=True):
        runtime.jobs.record_delivery(job, result.sop_instance_uid, peer_name, item["attempt"], outcome)
    _report(item, results, outcomes)
    statuses = ", ".join(dict.fromkeys(outcome.status for outcome in outcomes))
    runtime.jobs.record_stage(job, f"deliver {peer_name} {item['attempt']}", began, time.time() - began, statuses)
    if not notice:
        runtime.jobs.settle(job)
    last = runtime.jobs.last_states(job, peer_name)  # not only of this call: a crash may have come after some of it
    states = {last.get(uid) for uid in uids_of(item)}
    return next((state for state in ("retry", "replaced", "failed", "refused") if state in states), "delivered")


def _to_send(jobs: JobBook, item: dict[str, Any]) -> list[Result]:
    """The objects of an input; of several those that have not arrived, nor failed for good."""
    first = load(Result, item["result"])
    if not item.get("more"):
        return [first]
    row = jobs.get(item["job"])
    known = {each["sop_instance_uid"]: each for each in (row or {}).get("results") or []}
    last = jobs.last_states(item["job"], item["peer"])
    return [load(Result, known[uid]) for uid in uids_of(item) if uid in known and last.get(uid, "retry") == "retry"]


def _tried(runtime: Runtime, job: str, peer_name: str, results: Sequence[Result]) -> list[Outcome]:
    peer = runtime.config.peers.get(peer_name)
    if peer is None:
        gone = Outcome("failed", "no such peer", f"peer {peer_name!r} is not in node.yaml any more")
        return [gone for _ in results]
    sent = deliver_all(results, peer, name=peer_name, calling_ae=runtime.config.node.ae_title)
    since = runtime.jobs.created(job)
    return [_give_up(outcome, runtime.config, since) for outcome in sent]


def _report(item: dict[str, Any], results: Sequence[Result], outcomes: Sequence[Outcome]) -> None:
    """A line for each that differs: of a series of hundreds not one for each object."""
    alike: dict[tuple[str, str], list[tuple[Result, Outcome]]] = {}
    for result, outcome in zip(results, outcomes, strict=True):
        alike.setdefault((outcome.state, outcome.status), []).append((result, outcome))
    for (state, status), some in alike.items():
        (result, outcome), more = some[0], len(some) - 1
        report = log.info if state == "delivered" else log.warning
        report(
            f"delivery {state}",
            job=item["job"],
            peer=item["peer"],
            attempt=item["attempt"],
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

"""Delivery to a peer that commits (PS3.4 Annex J): sent, asked for, and delivered once the peer has committed.

What was asked stands in the book before it is sent, so that a report finds its transaction whenever it comes, also to a
node that was killed in between. A result that waits is in the state "retry": each attempt looks whether the report is
there. The peer is asked again after `commit_timeout_s`; what it failed to commit to is sent again first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydicom.uid import generate_uid

from voxtell_dicom.config import Peer
from voxtell_dicom.deliver import deliver_all
from voxtell_dicom.deliver.commitment import NotRequested, request_commitment
from voxtell_dicom.deliver.outcomes import State, outcome
from voxtell_dicom.errors import ConfigError
from voxtell_dicom.jobs.commitment_book import Commitment
from voxtell_dicom.model import Outcome, Result
from voxtell_dicom.model.states import CommitmentState
from voxtell_dicom.network.commitment import CLASS_CONFLICT, Report, failure_in_words
from voxtell_dicom.workflow.runtime import Runtime

WAITING: Final = "waits for commitment"
_FAILED: Final = "not committed"
_FOR_GOOD: Final = frozenset({CLASS_CONFLICT, 0x0122})  # to send it again changes nothing


def deliver_committed(runtime: Runtime, job: str, name: str, peer: Peer, results: Sequence[Result]) -> list[Outcome]:
    """Send what the peer has not, ask it to commit to what it has; one Outcome per result, in order."""
    calling_ae = runtime.config.node.ae_title
    known = runtime.jobs.commitments(job, name)
    to_send = [result for result in results if _is_to_send(known.get(result.sop_instance_uid))]
    sent = dict(
        zip(
            [result.sop_instance_uid for result in to_send],
            deliver_all(to_send, peer, name=name, calling_ae=calling_ae),
            strict=True,
        )
    )
    to_ask: dict[str, bool] = {}
    for result in results:
        uid = result.sop_instance_uid
        if uid in sent:
            if sent[uid].state == "delivered":
                to_ask[uid] = sent[uid].warning
        elif known[uid].state == CommitmentState.REQUESTED and known[uid].age_s >= peer.commit_timeout_s:
            to_ask[uid] = known[uid].warning
    problem = None
    if to_ask:
        asked = [result for result in results if result.sop_instance_uid in to_ask]
        problem = _ask(runtime, job, name, peer, asked, to_ask)
        known = runtime.jobs.commitments(job, name)
    outcomes = []
    for result in results:
        uid = result.sop_instance_uid
        if uid in sent and uid not in to_ask:
            outcomes.append(sent[uid])
        elif problem is not None and uid in to_ask:
            outcomes.append(_not_asked(problem, result, name, warning=to_ask[uid]))
        else:
            outcomes.append(_of_commitment(known[uid], result, name))
    return outcomes


def _is_to_send(known: Commitment | None) -> bool:
    return known is None or known.state == CommitmentState.FAILED


def _ask(
    runtime: Runtime, job: str, name: str, peer: Peer, results: Sequence[Result], warnings: dict[str, bool]
) -> NotRequested | None:
    transaction = str(generate_uid(prefix=None))
    jobs = runtime.jobs
    jobs.request_commitment(job, name, transaction, warnings)

    def on_report(report: Report) -> bool:
        return jobs.record_commitment(report.transaction_uid, [name], report.committed, report.failed)

    def is_reported() -> bool:
        found = jobs.commitments(job, name)
        return all(found[uid].state != CommitmentState.REQUESTED for uid in warnings if uid in found)

    try:
        problem = request_commitment(
            results,
            peer,
            transaction,
            calling_ae=runtime.config.node.ae_title,
            on_report=on_report,
            is_reported=is_reported,
        )
    except ConfigError as error:
        problem = NotRequested("failed", str(error))
    if problem is not None:
        jobs.withdraw_commitment(transaction)
    return problem


def _not_asked(problem: NotRequested, result: Result, name: str, *, warning: bool) -> Outcome:
    what = f"it is stored there, but cannot be asked to commit: {problem.what}"
    todo = "let the peer offer us Storage Commitment, or take 'commit' from it in node.yaml"
    return outcome(problem.state, _FAILED, what, result, name, todo=todo, warning=warning)


def _of_commitment(known: Commitment, result: Result, name: str) -> Outcome:
    match known.state:
        case CommitmentState.COMMITTED:
            return outcome("delivered", "committed", "stored and committed", result, name, warning=known.warning)
        case CommitmentState.REQUESTED:
            what = f"it is stored there, and asked to commit since {known.age_s:.0f} s (see 'commit_timeout_s')"
            return outcome("retry", WAITING, what, result, name, warning=known.warning)
        case CommitmentState.FAILED:
            what = f"the peer does not commit to it: {failure_in_words(known.reason)}"
            state: State = "failed" if known.reason in _FOR_GOOD else "retry"
            return outcome(state, _FAILED, what, result, name, warning=known.warning)

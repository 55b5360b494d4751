"""Storage Commitment SCU (PS3.4 Annex J): ask a peer whether it keeps what it was sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pynetdicom import build_context, evt
from pynetdicom.association import Association

from voxtell_dicom.config import Peer
from voxtell_dicom.deliver.outcomes import State
from voxtell_dicom.model import Result
from voxtell_dicom.network.associations import AssociationRequest, NotOpened, NotOpenedReason, open_association
from voxtell_dicom.network.commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE, REQUEST, Report, answer_report, request_of

AT_ONCE_S: Final = 5.0  # for a report on this association, or right behind it; a later one comes on another
_POLL_S: Final = 0.05
_FOR_GOOD: Final = frozenset({0x0118, 0x0119, 0x0122, 0x0124, 0x0211})  # the peer has no such service for us


@dataclass(frozen=True)
class NotRequested:
    """A request for commitment that the peer did not take."""

    state: State
    what: str


def request_commitment(
    results: Sequence[Result],
    peer: Peer,
    transaction_uid: str,
    *,
    calling_ae: str,
    on_report: Callable[[Report], bool],
    is_reported: Callable[[], bool],
) -> NotRequested | None:
    """Ask a peer to commit to results, and wait a moment for its report; None where it took the request.

    on_report: records a report that comes on this association, and returns False where it fits no transaction.
    is_reported: whether it has come, on whatever association. Raises ConfigError as `open_association` does.
    """

    def report(event: evt.Event) -> tuple[int, None]:
        return answer_report(event, on_report), None

    handlers: list[evt.EventHandlerType] = [(evt.EVT_N_EVENT_REPORT, report)]
    request = AssociationRequest(calling_ae, [build_context(PUSH_MODEL)], peer.timeout_s, handlers=handlers)
    opened = open_association(peer, request)
    if isinstance(opened, NotOpened):
        refused = opened.reason in (NotOpenedReason.CONTEXTS_REFUSED, NotOpenedReason.REJECTED_PERMANENT)
        what = "accepts no Storage Commitment" if refused else f"no association: {opened.detail or opened.reason.name}"
        return NotRequested("failed" if refused else "retry", what)
    try:
        problem = _act(opened, request_of(transaction_uid, [(r.sop_class_uid, r.sop_instance_uid) for r in results]))
        until = time.monotonic() + AT_ONCE_S
        while problem is None and not is_reported() and time.monotonic() < until:
            time.sleep(_POLL_S)
    finally:
        if opened.is_established:
            opened.release()
    return problem


def _act(association: Association, information: object) -> NotRequested | None:
    try:
        answer, _ = association.send_n_action(information, REQUEST, PUSH_MODEL, PUSH_MODEL_INSTANCE)  # type: ignore[arg-type]
    except RuntimeError:  # the association has ended
        return NotRequested("retry", "the link was lost before N-ACTION")
    if "Status" not in answer:  # it may have taken the request all the same: its report is waited for
        return None
    status = int(answer.Status)
    if status == 0x0000:
        return None
    return NotRequested("failed" if status in _FOR_GOOD else "retry", f"N-ACTION is answered {status:04X}")

"""Storage Commitment at our port (PS3.4 Annex J): senders that ask whether we hold instances, and peers' reports."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import structlog
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from voxtell_dicom.archive.archive import Archive
from voxtell_dicom.config import Config, Peer
from voxtell_dicom.errors import ConfigError
from voxtell_dicom.network import commitment
from voxtell_dicom.network.associations import AssociationRequest, NotOpened, open_association
from voxtell_dicom.network.links import link_of, wait_for_end

RecordReport = Callable[[str, Collection[str], Collection[str], Mapping[str, int]], bool]

_SYNTAXES: Final = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
_ANSWER_S: Final = 10.0
_GRACE_S: Final = 1.0  # a sender that has not released by then waits for the report on its association
_AGAIN_AFTER_S: Final = (0.0, 5.0, 60.0, 300.0)
_MOST_WAITING: Final = 200
_NO_SUCH_ACTION, _INVALID_ARGUMENT, _NOT_AUTHORISED, _RESOURCE_LIMITATION = 0x0123, 0x0115, 0x0124, 0x0213

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Notice:
    """A report that a sender is to have. association: on which it asked."""

    association: Association
    calling_ae: str
    transaction_uid: str
    kind: int
    information: Dataset


class CommitmentScp:
    """Answers requests for commitment, and takes the reports of peers that we asked.

    record: takes a report; of which peers, what is committed, what failed and why; returns False if it fits no request.
    """

    def __init__(self, config: Config, archive: Archive, record: RecordReport | None) -> None:
        self._config, self._archive, self._record = config, archive, record
        self._peers: dict[str, list[tuple[str, Peer]]] = {}
        for name, peer in config.peers.items():
            if peer.ae_title:
                self._peers.setdefault(peer.ae_title.strip(), []).append((name, peer))
        self._pool = ThreadPoolExecutor(4, "commitment")
        self._waiting = threading.Semaphore(_MOST_WAITING)
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Send no more reports: their senders ask again."""
        self._stopping.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def contexts(self, calling: str, offered: Iterable[PresentationContext]) -> list[PresentationContext]:
        """Return the context for commitment if it is offered, and there may be any with this caller."""
        asked = any(peer.commit for _, peer in self._peers.get(calling, []))
        if not asked and not self._config.receive.commitment:
            return []
        order = [
            uid
            for context in offered
            if context.abstract_syntax == commitment.PUSH_MODEL
            for uid in context.transfer_syntax
            if uid in _SYNTAXES
        ]
        if not order:
            return []
        made = build_context(commitment.PUSH_MODEL, list(dict.fromkeys(order)))
        made.scu_role = made.scp_role = True
        return [made]

    def take_report(self, event: evt.Event, calling: str) -> tuple[int, None]:
        """Record an N-EVENT-REPORT of a peer; return its status."""
        names = [name for name, peer in self._peers.get(calling, []) if peer.commit]

        def record(report: commitment.Report) -> bool:
            return bool(self._record and self._record(report.transaction_uid, names, report.committed, report.failed))

        return commitment.answer_report(event, record), None

    def take_request(self, event: evt.Event, calling: str) -> tuple[int, None]:
        """Answer an N-ACTION, and have its report sent; return the status."""
        if not self._config.receive.commitment:
            return _NOT_AUTHORISED, None
        if event.action_type != commitment.REQUEST:
            return _NO_SUCH_ACTION, None
        try:
            transaction, instances = commitment.read_request(event.action_information)
        except Exception as error:  # whatever a broken dataset makes pydicom raise
            log.warning("commitment refused", reason=f"{type(error).__name__}: {error}", calling_ae=calling)
            return _INVALID_ARGUMENT, None
        if not self._waiting.acquire(blocking=False):
            return _RESOURCE_LIMITATION, None
        try:
            notice = self._notice(event.assoc, calling, transaction, instances)
            self._pool.submit(self._send, notice)
        except BaseException:  # the database is away, or the node stops: answered 0110
            self._waiting.release()
            raise
        return 0x0000, None

    def _notice(
        self, association: Association, calling: str, transaction: str, instances: Sequence[tuple[str, str]]
    ) -> _Notice:
        failed = {one: reason for one in instances if (reason := self._failure(*one))}
        held = [one for one in instances if one not in failed]
        log.info(
            "commitment requested",
            calling_ae=calling,
            transaction_uid=transaction,
            held=len(held),
            not_held=len(failed),
        )
        kind = commitment.SOME_FAILED if failed else commitment.ALL_COMMITTED
        return _Notice(association, calling, transaction, kind, commitment.report_of(transaction, held, failed))

    def _failure(self, sop_class_uid: str, sop_instance_uid: str) -> int:
        """Return the Failure Reason for an instance, 0 where we hold it."""
        found = self._archive.held_class(sop_instance_uid)
        if not found:
            return commitment.NO_SUCH_INSTANCE
        return 0 if found == sop_class_uid else commitment.CLASS_CONFLICT

    def _send(self, notice: _Notice) -> None:
        try:
            link = link_of(notice.association)
            wait_for_end(lambda: link is not None and link.serving, math.inf)  # the request is not answered yet
            wait_for_end(lambda: notice.association.is_established, _GRACE_S)
            if notice.association.is_established and self._report(notice.association, notice):
                return
            peer = next((peer for _, peer in self._peers.get(notice.calling_ae, []) if peer.host), None)
            if peer is None:
                what = "the sender has released its association, and no peer has its title and a host"
                log.warning("commitment not reported", reason=what, transaction_uid=notice.transaction_uid)
                return
            for delay_s in _AGAIN_AFTER_S:
                if self._stopping.wait(delay_s) or self._on_new_association(peer, notice):
                    return
            log.warning(
                "commitment not reported",
                reason="the sender takes no report",
                calling_ae=notice.calling_ae,
                transaction_uid=notice.transaction_uid,
            )
        except Exception:
            log.exception("commitment not reported", transaction_uid=notice.transaction_uid)
        finally:
            self._waiting.release()

    def _on_new_association(self, peer: Peer, notice: _Notice) -> bool:
        request = AssociationRequest(
            self._config.node.ae_title,
            [build_context(commitment.PUSH_MODEL)],
            peer.timeout_s,
            roles=[build_role(commitment.PUSH_MODEL, scp_role=True)],
        )
        try:
            opened = open_association(peer, request)
        except ConfigError as error:
            log.warning("commitment not reported", reason=str(error), transaction_uid=notice.transaction_uid)
            return False
        if isinstance(opened, NotOpened):
            log.info(
                "commitment not reported yet",
                reason=opened.detail or opened.reason.name,
                calling_ae=notice.calling_ae,
                transaction_uid=notice.transaction_uid,
            )
            return False
        try:
            return self._report(opened, notice)
        finally:
            if opened.is_established:
                opened.release()

    def _report(self, association: Association, notice: _Notice) -> bool:
        """Send an N-EVENT-REPORT; return whether it was taken."""
        association.dimse_timeout = _ANSWER_S  # meanwhile a release is not answered
        try:
            answer: Any = association.send_n_event_report(
                notice.information, notice.kind, commitment.PUSH_MODEL, commitment.PUSH_MODEL_INSTANCE
            )[0]
        except (RuntimeError, ValueError):  # the association has ended, or the context was not accepted
            return False
        taken = "Status" in answer
        if taken:
            log.info("commitment reported", transaction_uid=notice.transaction_uid, status=f"{answer.Status:04X}")
        return taken

"""A PACS on pynetdicom that stores, and commits by script."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, build_role, evt
from pynetdicom.dimse_messages import N_ACTION_RSP

PUSH_MODEL, INSTANCE = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"


class CommitScp:
    """A context manager. `reasons`: Failure Reason by SOP Instance UID; all others are committed.

    report: "same" association, "never", or "later", by `report_to`; status: of the answer to N-ACTION; offers: whether
    the presentation context is accepted; on_action: called before the answer.
    """

    def __init__(self, *, report: str = "same", status: int = 0x0000, offers: bool = True) -> None:
        self.report, self.status = report, status
        self.reasons: dict[str, int] = {}
        self.stored: list[str] = []
        self.asked: list[Dataset] = []
        self.answered: list[int] = []  # what our reports were answered
        self.on_action: Callable[[], None] = lambda: None
        self._entity = AE("PACS")
        for context in AllStoragePresentationContexts:
            self._entity.add_supported_context(str(context.abstract_syntax), context.transfer_syntax)
        if offers:
            self._entity.add_supported_context(PUSH_MODEL)
        self.port = 0

    def __enter__(self) -> CommitScp:
        handlers: list[Any] = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_N_ACTION, self._action),
            (evt.EVT_DIMSE_SENT, self._sent),
        ]
        server: Any = self._entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.port = server.server_address[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entity.shutdown()

    @property
    def settings(self) -> dict[str, Any]:
        """Return this SCP as a peer of node.yaml."""
        return {"ae_title": "PACS", "host": "127.0.0.1", "port": self.port, "commit": True}

    def _store(self, event: evt.Event) -> int:
        self.stored.append(str(event.request.AffectedSOPInstanceUID))  # type: ignore[union-attr]
        return 0x0000

    def _action(self, event: evt.Event) -> tuple[int, None]:
        self.on_action()
        self.asked.append(event.action_information)
        return self.status, None

    def _sent(self, event: evt.Event) -> None:
        if isinstance(event.message, N_ACTION_RSP) and self.report == "same" and self.status == 0:
            threading.Thread(target=self._tell, args=(event.assoc,), daemon=True).start()

    def information(self) -> tuple[Dataset, int]:
        """Event Information of the newest request, and its type."""
        asked, made = self.asked[-1], Dataset()
        made.TransactionUID = asked.TransactionUID
        failed = [item for item in asked.ReferencedSOPSequence if item.ReferencedSOPInstanceUID in self.reasons]
        made.ReferencedSOPSequence = [item for item in asked.ReferencedSOPSequence if item not in failed]
        if failed:
            made.FailedSOPSequence = failed
            for item in failed:
                item.FailureReason = self.reasons[item.ReferencedSOPInstanceUID]
        return made, 2 if failed else 1

    def _tell(self, association: Any) -> None:
        time.sleep(0.05)  # the answer that this comes behind is on its way
        information, kind = self.information()
        status, _ = association.send_n_event_report(information, kind, PUSH_MODEL, INSTANCE)
        self.answered.append(int(status.Status))

    def report_to(self, port: int, *, calling: str = "PACS") -> None:
        """Send the report on an association of our own."""
        information, kind = self.information()
        entity = AE(calling)
        entity.add_requested_context(PUSH_MODEL)
        association = entity.associate(
            "127.0.0.1", port, ae_title="VOXTELL", ext_neg=[build_role(PUSH_MODEL, scp_role=True)]
        )
        assert association.is_established
        (context,) = association.accepted_contexts
        assert (context.as_scp, context.as_scu) == (True, False)
        status, _ = association.send_n_event_report(information, kind, PUSH_MODEL, INSTANCE)
        self.answered.append(int(status.Status))
        association.release()

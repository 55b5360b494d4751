"""Storage SCP: accept associations of known peers, store datasets undecoded, answer once an instance is on disk."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterable
from typing import Any

import structlog
from pydicom.dataset import Dataset
from pynetdicom import ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, build_context, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from voxtell_dicom.archive.archive import Archive
from voxtell_dicom.config import Config
from voxtell_dicom.errors import PortUnavailable, Refusal, SpoolUnavailable
from voxtell_dicom.network.associations import SILENCE_S, new_entity, prepare_connection
from voxtell_dicom.receive.arrival import Sender
from voxtell_dicom.receive.completion import Completion
from voxtell_dicom.receive.intake import STATUS, Intake

_IDLE_S = 300  # an association without traffic for so long is treated as lost
_REJECTED_PERMANENT, _BY_USER = 1, 1  # PS3.8 Table 9-21
_CALLING_UNKNOWN, _CALLED_UNKNOWN = 3, 7
_OUT_OF_RESOURCES, _PROCESSING_FAILURE = 0xA700, 0x0110

# Syntaxes whose pixels lie elsewhere (JPIP) or that are live streams (SMPTE) bring no image.
_JPIP = {f"1.2.840.10008.1.2.4.{number}" for number in (94, 95, 204, 205)}
_SYNTAXES = [uid for uid in ALL_TRANSFER_SYNTAXES if uid not in _JPIP and not uid.startswith("1.2.840.10008.1.2.7.")]
_LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"  # newer than pynetdicom's list; a PACS may forward ours back
_STORAGE = {str(context.abstract_syntax) for context in AllStoragePresentationContexts}
_CLASSES = {*_STORAGE, str(Verification), _LABEL_MAP}

log = structlog.get_logger(__name__)


class StorageScp:
    """Verification and Storage SCP (PS3.4 Annex A, B) of the node."""

    def __init__(
        self, config: Config, archive: Archive, completion: Completion, *, silence_s: float = SILENCE_S
    ) -> None:
        """silence_s: an association ends if nothing arrives for so long inside a PDU."""
        self._config = config
        self._intake, self._completion, self._now = Intake(archive, completion), completion, archive.now
        self._callers = {peer.ae_title.strip() for peer in config.peers.values() if peer.ae_title}
        self._title = config.node.ae_title.strip()
        self._senders: dict[Association, Sender] = {}
        self._lock = threading.Lock()
        self._silence_s = silence_s
        self._ae = new_entity(self._title)
        self._ae.maximum_associations = config.receive.max_associations
        self._ae.require_called_aet = True  # behind our own check, which also names a similar title
        if self._callers and not config.receive.accept_unknown:
            self._ae.require_calling_aet = sorted(self._callers)
        self._ae.network_timeout = _IDLE_S
        # One context, because pynetdicom copies all of them for each association (75 ms): `_requested` gives the rest.
        self._ae.add_supported_context(Verification)
        self._server: Any = None

    @property
    def port(self) -> int:
        """The open port; chosen by the system if node.yaml says 0."""
        return int(self._server.server_address[1]) if self._server else self._config.node.dimse.port

    def start(self) -> None:
        """Open the port. Raises PortUnavailable if that is not possible."""
        host, port = self._config.node.dimse.host, self._config.node.dimse.port
        handlers: list[Any] = [
            (evt.EVT_CONN_OPEN, prepare_connection, [self._silence_s]),
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_REJECTED, self._rejected),
            (evt.EVT_ESTABLISHED, self._established),
            (evt.EVT_C_STORE, self._c_store),
            (evt.EVT_RELEASED, self._released),
            (evt.EVT_ABORTED, self._aborted),
            (evt.EVT_CONN_CLOSE, self._closed),
        ]
        try:
            self._server = self._ae.start_server((host, port), block=False, evt_handlers=handlers)
        except (OSError, ValueError, OverflowError) as error:
            raise PortUnavailable(
                f"cannot listen on {host}:{port} (node.dimse): {error}. Stop the program that uses the port, or choose "
                "another host or port; ports below 1024 need the right to bind them"
            ) from error
        if not self._callers and not self._config.receive.accept_unknown:
            log.warning("nobody may send: no peer has an ae_title, and receive.accept_unknown is false")

    def stop(self, drain_s: float = 5.0) -> None:
        """Refuse new associations, give open ones `drain_s` seconds to end, then abort them."""
        if self._server is None:
            return
        self._server.shutdown()
        until = time.monotonic() + drain_s
        while self._ae.active_associations and time.monotonic() < until:
            time.sleep(0.05)
        self._ae.shutdown()
        self._server = None

    def _requested(self, event: evt.Event) -> None:
        """Reject unknown AE titles, else offer the contexts we support (pynetdicom takes no known callers for all)."""
        request: Any = event.assoc.requestor.primitive
        calling, called = request.calling_ae_title.strip(), request.called_ae_title.strip()
        if called != self._title:
            diagnostic, why, similar = _CALLED_UNKNOWN, "called AE title is not ours", _similar(called, {self._title})
        elif calling not in self._callers and not self._config.receive.accept_unknown:
            diagnostic, why, similar = _CALLING_UNKNOWN, "calling AE title is no peer", _similar(calling, self._callers)
        else:
            event.assoc.acceptor.supported_contexts = _as_offered(request.presentation_context_definition_list)
            return
        hint = {"hint": f"differs only in case or blanks from {similar!r}"} if similar else {}
        log.warning(
            "association rejected", reason=why, calling_ae=calling, called_ae=called, address=_address(event), **hint
        )
        event.assoc.acse.send_reject(_REJECTED_PERMANENT, _BY_USER, diagnostic)
        event.assoc.kill()

    def _rejected(self, event: evt.Event) -> None:
        """Log a rejection that pynetdicom decided: too many associations."""
        request: Any = event.assoc.requestor.primitive
        log.warning(
            "association rejected",
            reason="receive.max_associations reached",
            calling_ae=request.calling_ae_title.strip(),
            called_ae=request.called_ae_title.strip(),
            address=_address(event),
        )

    def _established(self, event: evt.Event) -> None:
        request: Any = event.assoc.requestor.primitive
        version = event.assoc.requestor.implementation_version_name or ""
        sender = Sender(
            uuid.uuid4().hex,
            request.calling_ae_title.strip(),
            request.called_ae_title.strip(),
            _address(event),
            self._now(),
            f"{event.assoc.requestor.implementation_class_uid or ''} {version}".strip(),
        )
        with self._lock:
            self._senders[event.assoc] = sender

    def _c_store(self, event: evt.Event) -> Dataset | int:
        with self._lock:
            sender = self._senders.get(event.assoc)
        request: Any = event.request
        uid = str(request.AffectedSOPInstanceUID or "")
        if sender is None:  # the link was lost while this instance waited for its turn
            return _PROCESSING_FAILURE
        try:
            verdict = self._intake.take(
                event.encoded_dataset(include_meta=False),
                str(event.context.transfer_syntax),
                sender,
                sop_class_uid=str(request.AffectedSOPClassUID or ""),
                sop_instance_uid=uid,
            )
        except Refusal as refusal:
            log.warning("instance refused", code=refusal.code, reason=str(refusal), sop_instance_uid=uid)
            return _failure(STATUS[refusal.code], str(refusal))
        except SpoolUnavailable as error:
            log.error("instance not stored", reason=str(error), sop_instance_uid=uid)
            return _failure(_OUT_OF_RESOURCES, str(error))
        except Exception:
            log.exception("instance not stored", sop_instance_uid=uid)
            return _failure(_PROCESSING_FAILURE, "internal error, see the log of the receiver")
        finally:
            with self._lock:
                cut_off = event.assoc not in self._senders
            if cut_off:  # while we stored: what the instance holds must be let go again
                self._completion.ended(sender, released=False)
        log.debug("instance stored", sop_instance_uid=uid, verdict=verdict, association=sender.association)
        return 0x0000

    def _released(self, event: evt.Event) -> None:
        self._end(event.assoc, released=True)

    def _aborted(self, event: evt.Event) -> None:
        self._end(event.assoc, released=False)

    def _closed(self, event: evt.Event) -> None:
        """Handle a closed socket: if no release or abort follows within 2 s, treat the association as lost."""
        with self._lock:
            if event.assoc not in self._senders:
                return
        timer = threading.Timer(2.0, self._end, (event.assoc,), {"released": False})
        timer.daemon = True
        timer.start()

    def _end(self, association: Association, *, released: bool) -> None:
        with self._lock:
            sender = self._senders.pop(association, None)
        if sender is None:
            return
        if not released:
            log.warning("association lost", calling_ae=sender.calling_ae, address=sender.address)
        self._completion.ended(sender, released=released)


def _as_offered(offered: Iterable[PresentationContext]) -> list[PresentationContext]:
    """Return the offered contexts that we support, transfer syntaxes in the sender's order: it need not convert."""
    wanted: dict[str, list[str]] = {}
    for context in offered:
        order = wanted.setdefault(str(context.abstract_syntax), [])
        order.extend(uid for uid in context.transfer_syntax if uid in _SYNTAXES and uid not in order)
    return [build_context(uid, order) for uid, order in wanted.items() if uid in _CLASSES and order]


def _address(event: evt.Event) -> str:
    return f"{event.assoc.requestor.address}:{event.assoc.requestor.port}"


def _similar(title: str, known: set[str]) -> str:
    """Return the known title that differs only in case or blanks; "" if none does."""
    plain = "".join(title.split()).casefold()
    return next((name for name in sorted(known) if "".join(name.split()).casefold() == plain), "")


def _failure(status: int, why: str) -> Dataset:
    answer = Dataset()
    answer.Status = status
    answer.ErrorComment = why.encode("ascii", "replace").decode().replace("\\", "/")[:64]
    return answer

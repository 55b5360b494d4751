"""Storage SCP: accept associations of known peers, store datasets undecoded, answer once an instance is on disk."""

from __future__ import annotations

import ssl
import threading
import uuid
from collections.abc import Iterable
from typing import Any

import structlog
from pydicom.dataset import Dataset
from pynetdicom import AllStoragePresentationContexts, build_context, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_RELEASE
from pynetdicom.presentation import PresentationContext
from pynetdicom.service_class import NonPatientObjectStorageServiceClass, ServiceClass, StorageServiceClass
from pynetdicom.sop_class import Verification, uid_to_service_class  # type: ignore[attr-defined]

from voxtell_dicom.archive.archive import Archive
from voxtell_dicom.config import Config
from voxtell_dicom.dicom.sop_classes import class_name
from voxtell_dicom.errors import PortUnavailable, Refusal, SpoolUnavailable
from voxtell_dicom.network import association_loops
from voxtell_dicom.network.acceptors import TooLarge
from voxtell_dicom.network.associations import new_entity, prepare_connection
from voxtell_dicom.network.handshake import accept_tls
from voxtell_dicom.network.links import Connections, cut, link_of, new_link, wait_for_end
from voxtell_dicom.network.request_pdu import UNUSABLE_UID
from voxtell_dicom.network.server import Server
from voxtell_dicom.network.tls import RenewableContext, subject_of
from voxtell_dicom.receive.arrival import Sender
from voxtell_dicom.receive.callers import Caller, Callers, limit_reached
from voxtell_dicom.receive.commitment import CommitmentScp, RecordReport
from voxtell_dicom.receive.completion import Completion
from voxtell_dicom.receive.intake import OUT_OF_RESOURCES, PROCESSING_FAILURE, STATUS, TRANSFER_SYNTAXES, Intake

_ABORT_S = 5.0  # for the associations that are aborted at the stop
_LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"  # newer than pynetdicom's list; a PACS may forward ours back
_STORAGE = {str(context.abstract_syntax) for context in AllStoragePresentationContexts}
_CLASSES = {*_STORAGE, str(Verification), _LABEL_MAP}

log = structlog.get_logger(__name__)


class StorageScp:
    """Verification and Storage SCP (PS3.4 Annex A, B) of the node."""

    def __init__(
        self,
        config: Config,
        archive: Archive,
        completion: Completion,
        *,
        silence_s: float | None = None,
        record_commitment: RecordReport | None = None,
    ) -> None:
        """silence_s: overrides `receive.bounds.pdu_s`. record_commitment: as `record` of `CommitmentScp`."""
        self._config, self._archive = config, archive
        self._bounds = config.receive.bounds
        if silence_s is not None:
            self._bounds = self._bounds.model_copy(update={"pdu_s": silence_s})
        self._intake, self._completion, self._now = Intake(archive, completion, self._bounds), completion, archive.now
        self._callers = Callers(config)
        self._commitment = CommitmentScp(config, archive, record_commitment)
        self._senders: dict[Association, Sender] = {}
        self._named: set[tuple[str, str]] = set()  # association and class, of what was said to be set aside
        self._lock = threading.Lock()
        self._connections = Connections(config.receive.max_associations, self._bounds.connections_per_address)
        self._ae = new_entity(self._callers.title)
        self._ae.maximum_associations = config.receive.max_associations
        self._ae.require_called_aet = True  # behind our own check, which also names a similar title
        if self._callers.known and not config.receive.accept_unknown:
            self._ae.require_calling_aet = sorted(self._callers.known)
        self._ae.network_timeout = self._bounds.idle_s
        self._ae.acse_timeout = self._bounds.request_s
        # One context, because pynetdicom copies all of them for each association (75 ms): `_requested` gives the rest.
        self._ae.add_supported_context(Verification)
        self._servers: list[Server] = []

    @property
    def port(self) -> int:
        """The open port; chosen by the system if node.yaml says 0."""
        return int(self._servers[0].server_address[1]) if self._servers else self._config.node.dimse.port

    @property
    def tls_port(self) -> int | None:
        """Return the open port that takes TLS, None where none does."""
        return next((int(one.server_address[1]) for one in self._servers if one.tls is not None), None)

    def bind(self) -> None:
        """Take the ports, and let nobody in yet.

        Raises PortUnavailable if that is not possible, ConfigError if a file of the TLS settings cannot be used.
        """
        dimse = self._config.node.dimse
        context = RenewableContext(dimse.tls, "node.dimse.tls") if dimse.tls is not None else None
        if dimse.tls is not None and dimse.tls.port is not None:
            self._bind(dimse.port)
            self._bind(dimse.tls.port).tls = context
        else:
            self._bind(dimse.port).tls = context

    def _bind(self, port: int) -> Server:
        handlers: list[Any] = [
            (evt.EVT_CONN_OPEN, self._opened),
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_ESTABLISHED, self._established),
            (evt.EVT_C_STORE, self._c_store),
            (evt.EVT_N_ACTION, lambda event: self._commitment.take_request(event, _titles(event.assoc)[0])),
            (evt.EVT_N_EVENT_REPORT, lambda event: self._commitment.take_report(event, _titles(event.assoc)[0])),
            (evt.EVT_ACSE_RECV, self._acse_received),
            (evt.EVT_ABORTED, self._aborted),
            (evt.EVT_CONN_CLOSE, self._closed),
        ]
        try:
            address = (self._config.node.dimse.host, port)
            server = self._ae.make_server(address, evt_handlers=handlers, server_class=Server)
        except (OSError, ValueError, OverflowError) as error:
            raise self._not_listening(port, error) from error
        assert isinstance(server, Server)
        self._ae._servers.append(server)
        self._servers.append(server)
        return server

    def start(self) -> None:
        """Open the port. Raises PortUnavailable if that is not possible."""
        if not self._servers:
            self.bind()
        for server in self._servers:
            try:
                server.open()
            except OSError as error:
                raise self._not_listening(int(server.server_address[1]), error) from error
        if self._callers.nobody:
            log.warning("nobody may send: no peer has an ae_title, and receive.accept_unknown is false")

    def _not_listening(self, port: int, error: Exception) -> PortUnavailable:
        address = f"{self._config.node.dimse.host}:{port}"
        return PortUnavailable(
            f"cannot listen on {address} (node.dimse): {error}. Stop the program that uses the port, "
            "or choose another host or port; ports below 1024 need the right to bind them"
        )

    def stop(self, drain_s: float = 5.0) -> None:
        """Refuse new associations, give open ones `drain_s` seconds to end, then abort them."""
        if not self._servers:
            return
        self._commitment.stop()
        for server in self._servers:
            server.stop()
        self._servers = []
        for connection in self._connections.open(admitted=False):
            cut(connection)
        wait_for_end(lambda: self._ae.active_associations, drain_s)
        for association in self._ae.active_associations:
            association.abort(block=False)
        wait_for_end(lambda: self._ae.connections, 0.5)
        for connection in self._ae.connections:  # that do not read what we send
            cut(connection)
        wait_for_end(lambda: self._ae.connections, _ABORT_S)

    def _opened(self, event: evt.Event) -> None:
        """Prepare a new connection; in a thread of its own, so that a handshake keeps no other caller waiting."""
        requestor = event.assoc.requestor
        link = new_link(str(requestor.address), int(requestor.port or 0), self._bounds)
        if association_loops.install():
            link.connections, link.on_end = self._connections, self._ended
            event.assoc._link = link  # type: ignore[attr-defined]
            self._connections.add(event.assoc, link)
        server = event.assoc._server
        if isinstance(server, Server) and server.tls is not None:
            reason = accept_tls(event.assoc, server.tls.current(), self._bounds.request_s)
            if reason:
                link.end(reason)
                if link.connections is None:
                    log.warning("connection closed", reason=reason, address=link.address, connections=1)
                return
        prepare_connection(event, self._bounds.pdu_s)

    def _requested(self, event: evt.Event) -> None:
        """Reject unknown AE titles, else offer the contexts we support (pynetdicom takes no known callers for all)."""
        request: Any = event.assoc.requestor.primitive
        calling, called = _titles(event.assoc)
        connection = _connection(event.assoc)
        is_tls = isinstance(connection, ssl.SSLSocket)
        caller = Caller(calling, called, str(event.assoc.requestor.address), subject_of(connection), is_tls)
        rejection = self._callers.judge(caller)
        if rejection is None and (limit := self._connections.admit(event.assoc)):
            rejection = limit_reached(limit)
        if rejection is None:
            any_class = calling in self._callers.known and self._config.receive.any_class_from_peers
            offered = request.presentation_context_definition_list
            commitment = self._commitment.contexts(calling, offered)
            event.assoc.acceptor.supported_contexts = [*_as_offered(offered, any_class), *commitment]
            return
        hint = {"hint": f"differs only in case or blanks from {rejection.similar!r}"} if rejection.similar else {}
        titles = {"calling_ae": calling, "called_ae": called}
        log.warning("association rejected", reason=rejection.reason, **titles, address=_address(event), **hint)
        event.assoc.acse.send_reject(*rejection.answer)
        event.assoc.kill()

    def _established(self, event: evt.Event) -> None:
        version = event.assoc.requestor.implementation_version_name or ""
        sender = Sender(
            uuid.uuid4().hex,
            *_titles(event.assoc),
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
            return PROCESSING_FAILURE
        try:
            verdict = self._intake.take(
                self._dataset(event),
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
            return _failure(OUT_OF_RESOURCES, str(error))
        except Exception:
            log.exception("instance not stored", sop_instance_uid=uid)
            return _failure(PROCESSING_FAILURE, "internal error, see the log of the receiver")
        finally:
            with self._lock:
                cut_off = event.assoc not in self._senders
            if cut_off:  # while we stored: what the instance holds must be let go again
                self._completion.ended(sender, released=False)
        self._name_set_aside(str(request.AffectedSOPClassUID), sender)
        log.debug("instance stored", sop_instance_uid=uid, verdict=verdict, association=sender.association)
        return 0x0000

    def _dataset(self, event: evt.Event) -> bytes:
        request: Any = event.request
        if isinstance(request.DataSet, TooLarge):
            bound = f"{self._bounds.dataset_mb} MiB (receive.bounds.dataset_mb)"
            raise Refusal("too-large", f"the dataset is larger than {bound}", uid=str(request.AffectedSOPInstanceUID))
        if request.DataSet is None:
            raise Refusal("unreadable", "the request has no dataset", uid=str(request.AffectedSOPInstanceUID))
        return event.encoded_dataset(include_meta=False)

    def _name_set_aside(self, sop_class_uid: str, sender: Sender) -> None:
        """Log, once for each association and class, that instances of the class start no work."""
        key = (sender.association, sop_class_uid)
        if key in self._named or (sop_class_uid in _CLASSES and self._archive.starts(sop_class_uid)):
            return
        with self._lock:
            self._named.add(key)
        what = "instances are set aside, their class starts no work"
        if self._archive.starts(sop_class_uid):
            what = "instances of a class that is none of the standard's"
        log.info(what, sop_class=class_name(sop_class_uid), sop_class_uid=sop_class_uid, calling_ae=sender.calling_ae)

    def _acse_received(self, event: evt.Event) -> None:
        """Record a release before it is answered: a node killed right after its answer has the series as whole."""
        primitive: Any = event.primitive  # type: ignore[attr-defined]
        if isinstance(primitive, A_RELEASE) and primitive.result is None:
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

    def _ended(self, association: Association) -> None:
        """Handle the end of an association's thread: what was neither released nor aborted is lost."""
        self._end(association, released=association.is_released)

    def _end(self, association: Association, *, released: bool) -> None:
        with self._lock:
            sender = self._senders.pop(association, None)
            if sender is None:
                return
            self._named = {key for key in self._named if key[0] != sender.association}
        if not released:
            link = link_of(association)
            reason = {"reason": link.end_reason} if link and link.end_reason else {}
            log.warning("association lost", calling_ae=sender.calling_ae, address=sender.address, **reason)
        self._completion.ended(sender, released=released)


def _as_offered(offered: Iterable[PresentationContext], any_class: bool) -> list[PresentationContext]:
    """Return the offered contexts that we support, transfer syntaxes in the sender's order: it need not convert.

    any_class: support all classes but those of services other than storage.
    """
    wanted: dict[str, list[str]] = {}
    for context in offered:
        order = wanted.setdefault(str(context.abstract_syntax), [])
        order.extend(uid for uid in context.transfer_syntax if uid in TRANSFER_SYNTAXES and uid not in order)
    supported = _CLASSES | {uid for uid in wanted if any_class and _may_be_stored(uid)}
    return [build_context(uid, order) for uid, order in wanted.items() if uid in supported and order]


def _may_be_stored(uid: str) -> bool:
    """Return whether a class is one of storage, or of no service that is known: a private or a newer one."""
    services = (StorageServiceClass, NonPatientObjectStorageServiceClass, ServiceClass)
    return uid != UNUSABLE_UID and uid_to_service_class(uid) in services


def _titles(association: Association) -> tuple[str, str]:
    """Return calling and called AE title of a request, without padding."""
    link = link_of(association)
    if link is not None and link.request is not None:
        return link.request.calling_ae, link.request.called_ae
    request: Any = association.requestor.primitive
    return request.calling_ae_title.strip(), request.called_ae_title.strip()


def _connection(association: Association) -> Any:
    transport = association.dul.socket
    return transport.socket if transport is not None else None


def _address(event: evt.Event) -> str:
    return f"{event.assoc.requestor.address}:{event.assoc.requestor.port}"


def _failure(status: int, why: str) -> Dataset:
    answer = Dataset()
    answer.Status = status
    text = "".join(char if char.isprintable() else "?" for char in why).encode("ascii", "replace").decode()
    answer.ErrorComment = text.replace("\\", "/")[:64]
    return answer

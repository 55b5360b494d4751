"""Associations that a peer requests, within bounds: what pynetdicom does for them, without its ways to wait or to fail.

Each function takes the place of a method of pynetdicom, which stays in use where an association has no `Link`. Whatever
a peer sends ends in an answer, or in an A-ABORT with a reason (`Link.end_reason`); nothing waits longer than its bound.
"""

from __future__ import annotations

import select
import ssl
import threading
from io import BytesIO
from typing import Any, Final

import structlog
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_primitives import C_ECHO, C_STORE, N_ACTION, N_EVENT_REPORT
from pynetdicom.dul import DULServiceProvider
from pynetdicom.fsm import EVENTS, TRANSITION_TABLE, InvalidEventError
from pynetdicom.pdu import A_ABORT_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, A_P_ABORT, P_DATA
from pynetdicom.service_class import ServiceClass, StorageServiceClass, VerificationServiceClass
from pynetdicom.service_class_n import StorageCommitmentServiceClass

from voxtell_dicom.network.commitment import PUSH_MODEL
from voxtell_dicom.network.handshake import tls_state
from voxtell_dicom.network.links import Link, cut, link_of
from voxtell_dicom.network.pdu_reader import ConnectionEnded, PduFault, discard
from voxtell_dicom.network.request_pdu import InvalidRequest, read_request
from voxtell_dicom.network.store_messages import take_store_request

_REQUEST: Final = 0x01  # PDU type of an A-ASSOCIATE-RQ
_SERVICE_PROVIDER: Final = 0x02  # Source of an A-ABORT, PS3.8 Table 9-26
_LONGEST_COMMAND: Final = 1 << 16  # bytes of a command set
_MESSAGES_WAITING: Final = 2  # from so many on, no more is read: we take one operation at a time
_ABORTING: Final = ("AA-1", "AA-8")  # actions of the state machine, PS3.8 Table 9-10
_PDU_EVENTS: Final = ("Evt3", "Evt4", "Evt6", "Evt10", "Evt12", "Evt13")
_CLOSING_S: Final = 2.0  # for an A-ABORT or a rejection to leave

log = structlog.get_logger(__name__)

plain_read_pdu_data = DULServiceProvider._read_pdu_data
plain_is_transport_event = DULServiceProvider._is_transport_event
plain_receive_primitive = DIMSEServiceProvider.receive_primitive
plain_run_reactor = Association.run_reactor
plain_serve_request = Association._serve_request


class TooLarge(BytesIO):
    """In the place of a dataset that is larger than the bound: takes what comes, and holds nothing."""

    def write(self, data: Any) -> int:
        """Drop the data."""
        return len(data)


def read_pdu_data(self: Any) -> None:
    """Read what is there of a PDU; when it is whole, have the state machine deal with it."""
    link = link_of(self.assoc)
    connection = self.socket.socket
    if link is None:
        if isinstance(connection, ssl.SSLSocket):
            _read_tls(self, connection)
        else:
            plain_read_pdu_data(self)
        return
    if connection is None:  # closed by another thread
        return
    try:
        data = link.reader.read(connection)
        if data is None:
            return
        if data[0] == _REQUEST:
            link.request = read_request(bytes(data))
            data = bytearray(link.request.data)
        pdu, event = self._decode_pdu(data)
        if data[0] == _REQUEST:
            pdu.to_primitive()
    except ConnectionEnded as ended:
        link.end(str(ended))
        self.event_queue.put("Evt17")
    except (PduFault, InvalidRequest) as fault:
        link.end(str(fault))
        self.event_queue.put("Evt19")
    except Exception as error:  # whatever a corrupt PDU makes pynetdicom raise
        link.end(f"a PDU that cannot be decoded: {error}")
        self.event_queue.put("Evt19")
    else:
        self._recv_pdu.put(pdu)
        self.event_queue.put(event)


def _read_tls(dul: Any, connection: ssl.SSLSocket) -> None:
    """Read what is there of a PDU of an association that we requested over TLS.

    pynetdicom would wait for the rest of a record, and send nothing meanwhile.
    """
    try:
        data = tls_state(dul.assoc).reader.read(connection)
        if data is None:
            return
        pdu, event = dul._decode_pdu(data)
    except ConnectionEnded as ended:
        tls_state(dul.assoc).end(str(ended), ended.__cause__)
        dul.event_queue.put("Evt17")
    except Exception:  # no PDU, or a corrupt one
        dul.event_queue.put("Evt19")
    else:
        dul._recv_pdu.put(pdu)
        dul.event_queue.put(event)


def is_transport_event(self: Any) -> bool:
    """Read if there is something to read; return True if that was so."""
    link = link_of(self.assoc)
    if link is None:
        return plain_is_transport_event(self)
    if self.state_machine.current_state == "Sta13":  # all is said: wait for the end, but not for long
        connection = self.socket.socket
        if connection is None or not is_readable(self.socket) or not discard(connection):
            self.socket.close()
        return True
    try:
        link.reader.check_time()
    except PduFault as fault:
        link.end(str(fault))
        self.event_queue.put("Evt19")
        return True
    if is_backed_up(self):
        return False
    known, self._is_readable = self._is_readable, False  # until the next wait: asking the kernel again is not for free
    if not is_readable(self.socket, known=known):
        return False
    self._read_pdu_data()
    return True


def is_readable(transport: Any, *, known: bool | None = None) -> bool:
    """Return whether a connection has something to read, its end included. known: what the last wait for it found."""
    connection = transport.socket
    if connection is None or not transport._is_connected:
        return False
    if isinstance(connection, ssl.SSLSocket) and connection.pending():
        return True
    if connection.fileno() < 0:
        transport.event_queue.put("Evt17")
        return False
    if known is not None:
        return known
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def is_backed_up(dul: Any) -> bool:
    """Return whether a peer sends requests faster than they are answered: the rest waits in its own buffers."""
    if link_of(dul.assoc) is None or dul.state_machine.current_state == "Sta13":
        return False
    return bool(dul.assoc.dimse.msg_queue.qsize() >= _MESSAGES_WAITING)


def do_action(dul: Any, event: str) -> bool:
    """Have the state machine act on an event; return False if it cannot go on: then the association is aborted."""
    link = link_of(dul.assoc)
    if link is None:
        dul.state_machine.do_action(event)
        return True
    if event == "Evt19":
        link.end("an invalid PDU or DIMSE message")
    elif event == "Evt18" and dul.state_machine.current_state == "Sta2":
        link.end(_no_request(link))
    elif TRANSITION_TABLE.get((event, dul.state_machine.current_state)) in _ABORTING and event in _PDU_EVENTS:
        link.end(f"a PDU out of turn: {EVENTS[event]}")
    try:
        dul.state_machine.do_action(event)
    except InvalidEventError:  # what we wanted to send comes too late
        link.end("an answer to an association that has ended")
    except Exception as error:  # whatever a corrupt message makes pynetdicom raise
        link.end(f"an invalid DIMSE message: {error}")
    else:
        return True
    abort_at_once(dul)
    return False


def abort_at_once(dul: Any) -> None:
    """Send an A-ABORT past the state machine, whose state is unknown, and end both threads."""
    pdu = A_ABORT_RQ()
    pdu.source, pdu.reason_diagnostic = _SERVICE_PROVIDER, 0x00
    dul.socket.send(pdu.encode())
    dul.assoc.is_aborted, dul.assoc.is_established = True, False
    dul.assoc._kill = dul._kill_thread = True


def receive_primitive(self: Any, primitive: P_DATA) -> None:
    """Take the fragments of a message. A dataset beyond the bound is dropped, and its C-STORE refused."""
    link = link_of(self.assoc)
    if link is not None and self.message is None and not self.assoc.get_handlers(evt.EVT_DIMSE_RECV):
        self.message = take_store_request(primitive)
    if link is not None and self.message is not None:
        if self.message.encoded_command_set.tell() > _LONGEST_COMMAND:
            raise ValueError(f"its command set has more than {_LONGEST_COMMAND} bytes")
        coming = sum(len(value) for _, value in primitive.presentation_data_value_list)
        data_set = self.message.data_set
        if data_set.tell() + coming > link.bounds.dataset_mb << 20 and not isinstance(data_set, TooLarge):
            self.message.data_set = TooLarge()
    plain_receive_primitive(self, primitive)


_SERVICES: Final[dict[type, type[ServiceClass]]] = {
    C_STORE: StorageServiceClass,
    C_ECHO: VerificationServiceClass,
    N_ACTION: StorageCommitmentServiceClass,
    N_EVENT_REPORT: StorageCommitmentServiceClass,
}


def serve_request(self: Any, message: Any, context_id: int) -> None:
    """Answer C-ECHO, C-STORE of any class and Storage Commitment; abort at everything else."""
    link = link_of(self)
    if link is None:
        plain_serve_request(self, message, context_id)
        _pause_again(self, message)
        return
    context = self._accepted_cx.get(context_id)
    service = _SERVICES.get(type(message))
    if context is not None and (service is StorageCommitmentServiceClass) is not (
        context.abstract_syntax == PUSH_MODEL
    ):
        service = None
    if context is None:
        link.end(f"a message in presentation context {context_id}, which was not accepted")
    elif service is None or not message.is_valid_request:
        link.end(f"a {message.msg_type} message that is not expected here, or lacks what it must hold")
    else:
        link.used = link.serving = True
        self._is_paused = True
        service(self).SCP(message, context)
        self._is_paused = False
        link.serving = False
        _pause_again(self, message)
        return
    self.abort()


def _pause_again(association: Any, message: Any) -> None:
    """Have the service thread say again that it waits: pynetdicom serves event reports in a thread beside it."""
    if isinstance(message, N_EVENT_REPORT):
        association._news.set()


def run_association(self: Any) -> None:
    """Run the thread of an association from the connection to its end."""
    link = link_of(self)
    if link is None or not self.is_acceptor:
        plain_run_reactor(self)
        return
    try:
        self.dul.start()
        self._started_dul = True
        self._dul_ready.wait()
        _negotiate(self, link)
        if self.is_established:
            self._run_reactor()
    except Exception as error:
        link.end(f"{type(error).__name__}: {error}")
        abort_at_once(self.dul)
        log.exception("association failed", address=link.address)
    finally:
        _close(self)
        if link.connections is not None:
            link.connections.remove(self)
            if not link.admitted and link.end_reason and not self.is_rejected:
                link.connections.note(link)
        link.on_end(self)


def _negotiate(association: Any, link: Link) -> None:
    primitive = association.dul.receive_pdu(wait=True, timeout=link.bounds.request_s)
    if not isinstance(primitive, A_ASSOCIATE):
        if primitive is None:
            link.end(_no_request(link))
        return
    association.requestor.primitive = primitive
    evt.trigger(association, evt.EVT_REQUESTED, {})
    if not association.is_aborted and not association.is_rejected:
        association.acse.negotiate_association()


def _no_request(link: Link) -> str:
    return f"no A-ASSOCIATE-RQ within {link.bounds.request_s:g} s (receive.bounds.request_s)"


def wake_service(association: Any) -> None:
    """End the wait for a request that will not come, when the Upper Layer of an association has ended."""
    if link_of(association) is not None and not association.is_established:
        association.dul.to_user_queue.put(A_P_ABORT())


def _close(association: Any) -> None:
    """Let the last PDU leave, then close the connection; return when the Upper Layer has ended."""
    dul = association.dul
    association._kill = True
    association.is_established = False
    if dul.state_machine.current_state not in ("Sta1", "Sta2"):
        dul.join(_CLOSING_S)
    cut(association)
    dul.kill_dul()
    if dul is not threading.current_thread():
        dul.join(_CLOSING_S)
    transport = dul.socket
    if transport is not None and transport.socket is not None:
        association._server.shutdown_request(transport.socket)

"""Association loops for pynetdicom that wait for events; its own wake up a thousand times a second to look for them.

Each association of pynetdicom has two threads. The Upper Layer thread (`DULServiceProvider`, PS3.8 section 9.2) reads
and writes PDUs and runs the state machine; the service thread (`Association`) answers DIMSE messages. `install` gives
both a loop that sleeps until the socket is readable, another thread has put something into a queue, or a timer ends.
It also receives each PDU into one buffer, hands P-DATA to the DIMSE layer undecoded where no handler listens to PDUs,
reads and packs plain C-STORE messages by hand (a fifth of the time of an instance, otherwise), and acknowledges
each PDU at once (TCP_QUICKACK), because a sender with Nagle's algorithm waits for that.

What a peer may do to an association that it requests is bounded in `acceptors`, whose functions are installed, too.
The state machine, the queues and everything above them stay pynetdicom's. The names used here are private to it, so
`install` does nothing with any release but `TESTED_RELEASE`: pynetdicom's own loops then run, more slowly.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from struct import Struct
from typing import Any, Final

import pynetdicom
import structlog
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.transport import AssociationSocket

from voxtell_dicom.network import acceptors
from voxtell_dicom.network.links import link_of
from voxtell_dicom.network.pdu_reader import acknowledge
from voxtell_dicom.network.store_messages import pack_store_response
from voxtell_dicom.network.wake_up import SignallingQueue, WakeUp

TESTED_RELEASE: Final = "3.0.4"

_LONGEST_WAIT_S: Final = 5.0  # then the loops look at everything even if nothing has woken them
_BUFFER_STEP: Final = 1 << 20  # memory that a PDU gets at a time: its length field alone makes us allocate no more
_PDU_HEADER_BYTES: Final = 6  # PS3.8 section 9.3.1
_P_DATA_TF: Final = 0x04
_VALUE_ITEM: Final = Struct(">LB")  # item length, presentation context ID (PS3.8 Table 9-23)
_LAST_COMMAND_FRAGMENT: Final = b"\x03"  # Message Control Header, PS3.8 section E.2
_ARTIM_STATES: Final = frozenset({"Sta2", "Sta13"})

log = structlog.get_logger(__name__)
_logger = logging.getLogger(Association.__module__)  # our loops say what pynetdicom's say, under its name
_lock = threading.Lock()
_installed: bool | None = None


def install() -> bool:
    """Replace the loops of all later associations of this process; return False if pynetdicom's own loops stay.

    Further calls change nothing. An untested release of pynetdicom is logged once.
    """
    global _installed
    with _lock:
        if _installed is None:
            _installed = pynetdicom.__version__ == TESTED_RELEASE and hasattr(os, "eventfd")
            if _installed:
                for owner, name, function in _REPLACEMENTS:
                    setattr(owner, name, function)
            else:
                log.warning(
                    "pynetdicom's own association loops are used: slower, and busy while idle",
                    pynetdicom=pynetdicom.__version__,
                    tested=TESTED_RELEASE,
                )
        return _installed


class DataTransfer:
    """A received P-DATA-TF PDU whose values are views of the receive buffer."""

    def __init__(self, data: bytearray) -> None:
        """Raise ValueError or struct.error if the items do not fill the PDU exactly (PS3.8 section 9.3.5)."""
        view, offset = memoryview(data), _PDU_HEADER_BYTES
        self._values: list[tuple[int, memoryview]] = []
        while offset < len(view):
            length, context_id = _VALUE_ITEM.unpack_from(view, offset)
            end = offset + 4 + length
            if length < 2 or end > len(view):
                raise ValueError(f"a presentation data value of {length} bytes in a PDU of {len(view)}")
            self._values.append((context_id, view[offset + 5 : end]))
            offset = end

    def to_primitive(self) -> P_DATA:
        """Return the P-DATA indication."""
        primitive = P_DATA()
        primitive._presentation_data_value_list = self._values  # type: ignore[assignment]  # its setter wants bytes
        return primitive


_plain_association_init = Association.__init__
_plain_kill = Association.kill
_plain_network_timeout: Any = Association.network_timeout
_plain_acse_timeout: Any = Association.acse_timeout
_plain_dul_init = DULServiceProvider.__init__
_plain_decode_pdu = DULServiceProvider._decode_pdu
_plain_dimse_init = DIMSEServiceProvider.__init__
_plain_send_msg = DIMSEServiceProvider.send_msg


def _association_init(self: Any, ae: Any, mode: str) -> None:
    self._news = threading.Event()  # something for the service thread: a message, an ACSE primitive, or the end
    _plain_association_init(self, ae, mode)


def _news_of(association: Any) -> threading.Event:
    event: threading.Event | None = getattr(association, "_news", None)
    return event or threading.Event()  # a stand-in for an association, in tests


def _dimse_init(self: Any, association: Any) -> None:
    _plain_dimse_init(self, association)
    self.msg_queue = SignallingQueue(_news_of(association).set)


def _send_msg(self: Any, primitive: Any, context_id: int) -> None:
    """Send a DIMSE message; a C-STORE response without error fields is packed here if nobody listens to messages."""
    plain_response = (
        isinstance(primitive, C_STORE)
        and primitive.MessageIDBeingRespondedTo is not None
        and primitive.ErrorComment is None
        and primitive.OffendingElement is None
    )
    if not plain_response or self.assoc.get_handlers(evt.EVT_DIMSE_SENT):
        _plain_send_msg(self, primitive, context_id)
        return
    command = pack_store_response(primitive)
    if 0 < self.maximum_pdu_size < len(command) + _PDU_HEADER_BYTES:
        _plain_send_msg(self, primitive, context_id)
        return
    pdata = P_DATA()
    pdata.presentation_data_value_list.append((context_id, _LAST_COMMAND_FRAGMENT + command))
    self.dul.send_pdu(pdata)


def _dul_init(self: Any, association: Any) -> None:
    _plain_dul_init(self, association)
    self._wake_up = WakeUp()
    self._has_ended = False
    self._is_readable = True  # the connection, when the last wait ended
    self.to_user_queue = SignallingQueue(_news_of(association).set)
    self.to_provider_queue = SignallingQueue(self._wake_up.set)
    self.event_queue = SignallingQueue(self._wake_up.set)


def _kill_dul(self: Any) -> None:
    self._kill_thread = True
    self._wake_up.set()


def _stop_dul(self: Any) -> bool:
    """Stop the Upper Layer thread if its state is idle; return False if the state is another one."""
    if self.state_machine.current_state != "Sta1":
        return False
    self.kill_dul()
    if self.is_alive() and threading.current_thread() is not self:
        self.join()
    return True


def _run_upper_layer(self: Any) -> None:
    """Run the Upper Layer thread: feed the state machine with what comes from the service user, the peer and ARTIM."""
    self._idle_timer.start()
    descriptor = self._wake_up.open()
    try:
        while not self._kill_thread:
            if not self.assoc._dul_ready.is_set():
                self.assoc._dul_ready.set()
            self._wake_up.clear()
            if self.artim_timer.expired:
                self.event_queue.put("Evt18")
            try:
                if not self._process_recv_primitive() and self._is_transport_event():
                    self._idle_timer.restart()
            except Exception:
                _logger.exception("Exception in the Upper Layer, aborting association")
                acceptors.abort_at_once(self)
                return
            if self.event_queue.empty():
                _wait_for_event(self, descriptor)
            elif not acceptors.do_action(self, self.event_queue.get(block=False)):
                return
    finally:
        self._wake_up.close()
        self._has_ended = True
        acceptors.wake_service(self.assoc)
        self.assoc._news.set()


def _wait_for_event(dul: Any, descriptor: int) -> None:
    """Return when the socket is readable, the wake-up is set, ARTIM ends, or after `_LONGEST_WAIT_S`."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    connection = dul.socket.socket if dul.socket is not None and dul.socket._is_connected else None
    if connection is not None:
        number = connection.fileno()
        if number < 0:  # closed by another thread: the next look at it makes that an event
            dul._is_readable = True
            return
        if not acceptors.is_backed_up(dul):
            poll.register(number, select.POLLIN)
    longest = _LONGEST_WAIT_S
    link = link_of(dul.assoc)
    if link is not None and link.reader.remaining_s is not None:
        longest = min(longest, max(0.0, link.reader.remaining_s) + 0.001)
    if dul.state_machine.current_state in _ARTIM_STATES and dul.artim_timer.timeout is not None:
        longest = min(longest, max(0.0, dul.artim_timer.remaining) + 0.001)
    ready = poll.poll(longest * 1000)
    dul._is_readable = any(number != descriptor for number, _ in ready)


def _decode_pdu(self: Any, data: bytearray) -> Any:
    """Return a PDU and its event; P-DATA stays undecoded if no handler wants to see data or PDUs."""
    listened_to = self.assoc.get_handlers(evt.EVT_DATA_RECV) or self.assoc.get_handlers(evt.EVT_PDU_RECV)
    if data[0] != _P_DATA_TF or listened_to:
        return _plain_decode_pdu(self, data)
    return DataTransfer(data), "Evt10"


def _receive(self: Any, count: int) -> bytearray:
    """Return `count` bytes from the socket, fewer if the peer has closed the connection.

    Raises TimeoutError if nothing arrives for as long as the socket's timeout.
    """
    connection = self.socket
    buffer = bytearray(min(count, _BUFFER_STEP))
    filled = 0
    while filled < count:
        if filled == len(buffer):
            buffer.extend(bytes(min(count - filled, _BUFFER_STEP)))
        with memoryview(buffer)[filled:] as free:
            received = connection.recv_into(free)
        if not received:
            break
        filled += received
    del buffer[filled:]
    if filled > _PDU_HEADER_BYTES:
        acknowledge(connection)
    return buffer


def _set_network_timeout(self: Any, seconds: float | None) -> None:
    _plain_network_timeout.fset(self, seconds)
    self._news.set()


def _set_acse_timeout(self: Any, seconds: float | None) -> None:
    _plain_acse_timeout.fset(self, seconds)
    self.dul._wake_up.set()


def _kill(self: Any) -> None:
    self._kill = True
    self._news.set()
    _plain_kill(self)


def _run_service(self: Any) -> None:
    """Run the service thread of an established association until it is released, aborted, lost or idle too long."""
    self._is_paused = False
    while not self._kill:
        _let_others_send(self)
        self._news.clear()
        context_id, message = self.dimse.get_msg(block=False)
        if message:
            self.dul._wake_up.set()  # it may have stopped reading while messages wait
            self._serve_request(message, context_id)
            if not self.dimse.msg_queue.empty() and not self.acse.is_aborted():
                continue  # a release behind it is answered when all is
        if _has_ended(self):
            return
        if not message:
            _wait_for_news(self)


def _let_others_send(association: Any) -> None:
    """Block while another thread uses the association to send, so that it gets the answers and not this loop."""
    while True:
        association._is_paused = True
        association._reactor_checkpoint.wait()
        association._is_paused = False
        if association._reactor_checkpoint.is_set():  # else the other thread has just seen `_is_paused`, and began
            return


def _has_ended(association: Any) -> bool:
    """Answer a release, an abort, the end of the Upper Layer or the network timeout; return True if there was one."""
    if association.is_established and association.acse.is_release_requested():
        association.acse.send_release(is_response=True)
        _logger.info("Association Released")
        association.is_released, association.is_established = True, False
        evt.trigger(association, evt.EVT_RELEASED, {})
    elif association.acse.is_aborted():
        lost = association.acse.is_aborted("a-p-abort")
        _logger.info("Association Aborted (A-P-ABORT)" if lost else "Association Aborted")
        association.dul.receive_pdu(wait=False)  # triggers EVT_ACSE_RECV
        association.is_aborted, association.is_established = True, False
        evt.trigger(association, evt.EVT_ABORTED, {})
    elif association.dul._has_ended or not association.dul.is_alive():
        pass
    elif association.dul.idle_timer_expired():
        _logger.error("Network timeout reached")
        if association.network_timeout_response == "A-RELEASE":
            association._is_paused = True
            association._reactor_checkpoint.wait()
            association.release()
            association._is_paused = False
        else:
            association.abort()
    else:
        return False
    association.kill()
    return True


def _wait_for_news(association: Any) -> None:
    """Return when something is to be done or the network timeout ends. Other threads may send meanwhile."""
    longest = _LONGEST_WAIT_S
    if association.network_timeout is not None:
        longest = min(longest, max(0.0, association.dul._idle_timer.remaining) + 0.001)
    association._is_paused = True
    association._news.wait(longest)


_REPLACEMENTS: Final[tuple[tuple[type, str, Any], ...]] = (
    (Association, "__init__", _association_init),
    (Association, "network_timeout", property(_plain_network_timeout.fget, _set_network_timeout)),
    (Association, "acse_timeout", property(_plain_acse_timeout.fget, _set_acse_timeout)),
    (Association, "kill", _kill),
    (Association, "_run_reactor", _run_service),
    (Association, "run_reactor", acceptors.run_association),
    (Association, "_serve_request", acceptors.serve_request),
    (DIMSEServiceProvider, "receive_primitive", acceptors.receive_primitive),
    (DULServiceProvider, "_read_pdu_data", acceptors.read_pdu_data),
    (DULServiceProvider, "_is_transport_event", acceptors.is_transport_event),
    (DIMSEServiceProvider, "__init__", _dimse_init),
    (DIMSEServiceProvider, "send_msg", _send_msg),
    (DULServiceProvider, "__init__", _dul_init),
    (DULServiceProvider, "kill_dul", _kill_dul),
    (DULServiceProvider, "stop_dul", _stop_dul),
    (DULServiceProvider, "run_reactor", _run_upper_layer),
    (DULServiceProvider, "_decode_pdu", _decode_pdu),
    (AssociationSocket, "recv", _receive),
)

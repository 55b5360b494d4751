"""Associations that we request (PS3.8 section 7.1), and what all of our associations have in common."""

from __future__ import annotations

import enum
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_ASSOCIATE_RJ
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext

from voxtell_dicom.config import Peer
from voxtell_dicom.dicom.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from voxtell_dicom.errors import ConfigError
from voxtell_dicom.network import association_loops
from voxtell_dicom.network.handshake import request_tls, tls_state
from voxtell_dicom.network.server import Entity
from voxtell_dicom.network.tls import context_for_peer

MAXIMUM_PDU_BYTES: Final = 131_072  # that we receive: the largest that storescu and Orthanc send
SILENCE_S: Final = 60.0  # longest pause inside a PDU, and longest time in which a peer reads nothing of what we send

_REJECTED_PERMANENT: Final = 0x01  # Result of an A-ASSOCIATE-RJ, PS3.8 section 9.3.4; 2 is transient


class NotOpenedReason(enum.Enum):
    """Why a requested association was not established."""

    NAME_NOT_RESOLVED = enum.auto()
    NO_CONNECTION = enum.auto()
    TLS_REFUSED = enum.auto()  # by us or by the peer: a certificate, a version or a cipher
    NO_ANSWER = enum.auto()  # connected, but the request was not answered, or was aborted
    REJECTED_TRANSIENT = enum.auto()
    REJECTED_PERMANENT = enum.auto()
    CONTEXTS_REFUSED = enum.auto()


@dataclass(frozen=True)
class NotOpened:
    """An association that was not established; `detail` quotes the peer or the system, "" if neither said why.

    rejection: Source and Reason/Diag. of an A-ASSOCIATE-RJ (PS3.8 Table 9-21).
    """

    reason: NotOpenedReason
    detail: str = ""
    rejection: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class AssociationRequest:
    """Parameters of an association. Titles without padding; `timeout_s` holds for connecting and for each answer."""

    calling_ae: str
    contexts: Sequence[PresentationContext]
    timeout_s: float
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = ()
    handlers: Sequence[evt.EventHandlerType] = field(default=())


def open_association(peer: Peer, request: AssociationRequest) -> Association | NotOpened:
    """Return an established association, or why there is none. The caller releases it.

    Raises ConfigError if the peer has no address, or a file of its TLS settings cannot be used.
    """
    if peer.ae_title is None or peer.host is None or peer.port is None:
        raise ConfigError("a DIMSE peer that results are sent to needs 'ae_title', 'host' and 'port'")
    entity = new_entity(request.calling_ae)
    entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = request.timeout_s
    entity.network_timeout = None  # an idle timer of its own would only race with the timeouts above
    context = context_for_peer(peer.tls, f"peer {peer.ae_title}") if peer.tls is not None else None
    # Recorded as they come: if a peer rejects and closes at once, pynetdicom may report that there was no connection.
    connected: list[evt.Event] = []
    rejections: list[A_ASSOCIATE_RJ] = []

    def record(event: evt.Event) -> None:
        if isinstance(event.pdu, A_ASSOCIATE_RJ):
            rejections.append(event.pdu)

    def prepare(event: evt.Event) -> None:
        connected.append(event)
        tls = peer.tls
        if context is None or tls is None:
            prepare_connection(event)
            return
        name = str(tls.name or peer.host)
        if request_tls(event.assoc, context, tls, name, request.timeout_s):
            prepare_connection(event)

    try:
        association = entity.associate(
            peer.host,
            peer.port,
            contexts=list(request.contexts),
            ae_title=peer.ae_title,
            max_pdu=MAXIMUM_PDU_BYTES,
            ext_neg=list(request.roles),
            evt_handlers=[(evt.EVT_CONN_OPEN, prepare), (evt.EVT_PDU_RECV, record), *request.handlers],
        )
    except OSError as error:  # the host name cannot be resolved
        return NotOpened(NotOpenedReason.NAME_NOT_RESOLVED, error.strerror or type(error).__name__)
    association.unbind(evt.EVT_PDU_RECV, record)  # a listener keeps P-DATA from the short way to the DIMSE layer
    if association.is_established:
        return association
    if rejections:
        permanent = rejections[0].result == _REJECTED_PERMANENT
        reason = NotOpenedReason.REJECTED_PERMANENT if permanent else NotOpenedReason.REJECTED_TRANSIENT
        rejection = rejections[0]
        return NotOpened(reason, rejection.reason_str, (rejection.source or 0, rejection.reason_diagnostic or 0))
    state = tls_state(association)
    if state.refused:
        return NotOpened(NotOpenedReason.TLS_REFUSED, state.refused)
    if state.lost:
        return NotOpened(NotOpenedReason.NO_ANSWER, state.lost)
    answer = association.acceptor.primitive
    if answer is not None and answer.result == 0:
        return NotOpened(NotOpenedReason.CONTEXTS_REFUSED)
    return NotOpened(NotOpenedReason.NO_ANSWER if connected else NotOpenedReason.NO_CONNECTION)


def new_entity(ae_title: str) -> Entity:
    """Return an application entity with this title and our identity, and set up pynetdicom for this process."""
    _config.LOG_HANDLER_LEVEL = "none"  # the standard handlers would decode each PDU and log identifiers of patients
    _config.LOG_REQUEST_IDENTIFIERS = False
    _config.LOG_RESPONSE_IDENTIFIERS = False
    _config.STORE_SEND_CHUNKED_DATASET = True  # a path given to send_c_store is sent byte for byte
    association_loops.install()
    entity = Entity(ae_title=ae_title)
    entity.maximum_pdu_size = MAXIMUM_PDU_BYTES
    introduce(entity)
    return entity


def introduce(entity: AE) -> None:
    """Have an application entity give our identity in its associations (PS3.7 D.3.3.2)."""
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME


def prepare_connection(event: evt.Event, silence_s: float = SILENCE_S) -> None:
    """Set the options of a new connection; a handler of EVT_CONN_OPEN.

    A PDU of which nothing arrives for `silence_s`, or a peer that reads nothing for so long, ends the association:
    pynetdicom's own timeouts all wait for the blocked call. Messages are sent without waiting for more (TCP_NODELAY).
    """
    transport = event.assoc.dul.socket
    connection: Any = transport.socket if transport is not None else None
    if connection is not None:
        connection.settimeout(silence_s)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

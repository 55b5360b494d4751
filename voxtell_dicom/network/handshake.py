"""TLS handshakes of connections, on either side, within a bound, and never in the thread that takes connections."""

from __future__ import annotations

import os
import socket
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from voxtell_dicom.config.tls_settings import PeerTls
from voxtell_dicom.network.pdu_reader import TLS_HANDSHAKE, PduReader
from voxtell_dicom.network.tls import has_subject, in_words, subject_of, subject_text

_LONGEST_PDU: Final = 1 << 30
_PDU_S: Final = 60.0
_ASSOCIATE_RQ: Final = b"\x01"
# Result 1 (permanent), Source 1 (service user), Reason 1 (none given): PS3.8 Table 9-21.
_REJECTION: Final = bytes((0x03, 0, 0, 0, 0, 4, 0, 1, 1, 1))
_LEFTOVER: Final = 1 << 16


@dataclass
class TlsState:
    """TLS of an association that we requested.

    refused: what one side has against the other's certificate, version or ciphers; lost: why the link broke.
    """

    refused: str = ""
    lost: str = ""
    reader: PduReader = field(default_factory=lambda: PduReader(_LONGEST_PDU, _PDU_S))

    def end(self, reason: str, error: BaseException | None) -> None:
        """Record why the connection ended. With TLS 1.3 the peer's refusal of ours comes behind our handshake."""
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLSyscallError):
            self.refused = self.refused or reason
        else:
            self.lost = self.lost or reason


def tls_state(association: Any) -> TlsState:
    """Return the state of TLS of an association that we requested."""
    state: TlsState | None = getattr(association, "_tls_state", None)
    if state is None:
        state = association._tls_state = TlsState()
    return state


def accept_tls(association: Any, context: ssl.SSLContext, within_s: float) -> str:
    """Have a caller make a TLS connection; return "" or why there is none: then the connection is at its end."""
    transport = association.dul.socket
    connection = transport.socket
    until = time.monotonic() + within_s
    try:
        connection.settimeout(within_s)
        first = connection.recv(1, socket.MSG_PEEK)
        if not first:
            return ""  # a look at whether the port is open
        if first[0] != TLS_HANDSHAKE:
            if first == _ASSOCIATE_RQ:
                connection.sendall(_REJECTION)
            _end(connection)
            return "no TLS: this port takes nothing else (node.dimse.tls)"
        connection.settimeout(max(0.001, until - time.monotonic()))
        connection = transport.socket = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        connection.do_handshake()
    except TimeoutError:
        _end(connection)
        return f"no TLS handshake within {within_s:g} s (receive.bounds.request_s)"
    except OSError as error:
        _end(connection)
        return f"TLS handshake failed: {in_words(error)}"
    return ""


def request_tls(association: Any, context: ssl.SSLContext, settings: PeerTls, name: str, within_s: float) -> bool:
    """Make a TLS connection to a peer; return False, with the reason in `TlsState`, if there is none."""
    transport = association.dul.socket
    state = tls_state(association)
    connection = transport.socket
    try:
        connection.settimeout(within_s)
        connection = transport.socket = context.wrap_socket(
            connection, server_hostname=name, do_handshake_on_connect=False
        )
        connection.do_handshake()
        subject = subject_of(connection) or ()
        if settings.subject is not None and not has_subject(subject, settings.subject):
            state.refused = f"the certificate has the subject {subject_text(subject)}, not {settings.subject}"
    except TimeoutError:
        state.end(f"no TLS handshake within {within_s:g} s", None)
    except OSError as error:
        state.end(f"TLS handshake failed: {in_words(error)}", error)
    if state.refused or state.lost:
        _end(connection)
        return False
    return True


def _end(connection: socket.socket) -> None:
    """Close a connection, so that nothing is read from it as if it had TLS.

    What it holds is read first, else a reset could overtake the alert or rejection that was sent.
    """
    with suppress(OSError):
        os.set_blocking(connection.fileno(), False)
        os.read(connection.fileno(), _LEFTOVER)
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()

"""Reading PDUs from a connection as their bytes arrive, within bounds: no call waits for the peer but a moment."""

from __future__ import annotations

import os
import select
import socket
import ssl
import time
from collections.abc import Callable
from struct import Struct
from typing import Any, Final

from voxtell_dicom.network.tls import in_words

_HEADER: Final = Struct(">BxL")  # PDU type, reserved, length of what follows (PS3.8 section 9.3.1)
TLS_HANDSHAKE: Final = 0x16  # the first byte of every TLS connection, and no type of a PDU
_TYPES: Final = range(0x01, 0x08)
_SOON_MS: Final = 2
_STEP: Final = 1 << 18  # memory that a PDU gets at a time: its length field alone makes us allocate no more


class PduFault(Exception):
    """Raised when what a peer sends is no PDU, or exceeds a bound: the association is aborted."""


class ConnectionEnded(Exception):
    """Raised when the peer closed or reset the connection; the message is "" where that was between two PDUs."""


class PduReader:
    """Collects the bytes of one PDU after the other.

    longest: bytes of a PDU behind its header. within_s: time from its first byte to its last.
    """

    def __init__(self, longest: int, within_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._longest, self._within_s, self._clock = longest, within_s, clock
        self._began_at = 0.0
        self._start()

    def _start(self) -> None:
        self._buffer = bytearray(_HEADER.size)
        self._filled, self._size = 0, 0  # size: of the whole PDU, 0 until its header is here

    @property
    def remaining_s(self) -> float | None:
        """Seconds that the PDU under way has left, negative where it is late; None between two PDUs."""
        return self._began_at + self._within_s - self._clock() if self._filled else None

    def check_time(self) -> None:
        """Raise PduFault where the PDU under way is late."""
        remaining = self.remaining_s
        if remaining is not None and remaining < 0:
            got = f"{self._filled} of {self._size or 'unknown'} bytes"
            raise PduFault(f"a PDU is not whole after {self._within_s:g} s (receive.bounds.pdu_s): {got} arrived")

    def read(self, connection: socket.socket) -> bytearray | None:
        """Return a whole PDU, None where more of it is to come. The connection must be readable.

        Raises PduFault, ConnectionEnded.
        """
        while True:
            with memoryview(self._buffer)[self._filled :] as free:
                wanted = len(free)
                try:
                    received = _receive_now(connection, free)
                except (BlockingIOError, ssl.SSLWantReadError, TimeoutError):
                    return None
                except ssl.SSLError as error:
                    raise ConnectionEnded(f"the TLS connection broke: {in_words(error)}") from error
                except OSError as error:
                    raise ConnectionEnded(f"the connection broke: {error.strerror or error}") from error
            if not received:
                where = f"the connection ended inside a PDU, after {self._filled} bytes" if self._filled else ""
                raise ConnectionEnded(where)
            if not self._filled:
                self._began_at = self._clock()
            self._filled += received
            if not self._size and self._filled == _HEADER.size:
                self._size = self._read_header()
            if self._filled == self._size:
                whole = self._buffer
                self._start()
                acknowledge(connection)
                return whole
            if self._filled == len(self._buffer) and self._size:
                self._grow(min(self._size, self._filled + _STEP))
            elif received < wanted and not _arrives_soon(connection):
                return None

    def _grow(self, size: int) -> None:
        larger = bytearray(size)  # zeros that the kernel provides: `extend` would write them, then copy
        larger[: self._filled] = self._buffer
        self._buffer = larger

    def _read_header(self) -> int:
        """Return the size of the PDU whose header is here."""
        kind, length = _HEADER.unpack(self._buffer)
        if kind == TLS_HANDSHAKE:
            raise PduFault("TLS on a port without TLS (node.dimse.tls)")
        if kind not in _TYPES:
            raise PduFault(f"no PDU has the type 0x{kind:02X}")
        if length > self._longest:
            raise PduFault(f"a PDU of {length} bytes; receive.bounds.pdu_kb allows {self._longest // 1024} KiB")
        return int(_HEADER.size + length)


def _receive_now(connection: socket.socket, free: memoryview) -> int:
    """Receive what is there into `free`; return how many bytes, 0 at the end. Raises BlockingIOError, OSError."""
    if isinstance(connection, ssl.SSLSocket):  # readable may mean: a part of a record, or a message of TLS itself
        patience_s = connection.gettimeout()
        connection.settimeout(0)
        try:
            return connection.recv_into(free)
        finally:
            connection.settimeout(patience_s)
    if connection.gettimeout() is None:
        return connection.recv_into(free, 0, socket.MSG_DONTWAIT)
    return os.readv(connection.fileno(), [free])  # Python's own call would wait, for up to the timeout


def _arrives_soon(connection: socket.socket) -> bool:
    """Wait a moment for the rest of a PDU that is arriving: that is cheaper than a turn of the association's loop."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(_SOON_MS))


def acknowledge(connection: Any) -> None:
    """Have the kernel send the TCP acknowledgement that is due, instead of delaying it by up to 40 ms."""
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
    except (OSError, AttributeError):  # closed by another thread, or no TCP socket
        return


def discard(connection: socket.socket) -> bool:
    """Drop what is there to read, at most a mebibyte of it; return False at the end of the connection."""
    with memoryview(bytearray(1 << 16)) as waste:
        for _ in range(16):
            try:
                if not _receive_now(connection, waste):
                    return False
            except (BlockingIOError, ssl.SSLWantReadError, TimeoutError):
                return True
            except OSError:
                return False
    return True

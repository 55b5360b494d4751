"""PDUs and DIMSE messages byte by byte, as no library would send them (PS3.7 Annex E, PS3.8 section 9.3)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Sequence

VERIFICATION, CT = "1.2.840.10008.1.1", "1.2.840.10008.5.1.4.1.1.2"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
ACCEPTED, REJECTED, DATA, RELEASED, ABORTED = 0x02, 0x03, 0x04, 0x06, 0x07  # PDU types of answers
RELEASE = b"\x05\0\0\0\0\x04\0\0\0\0"
ABORT = b"\x07\0\0\0\0\x04\0\0\0\0"


def item(kind: int, value: bytes) -> bytes:
    """Return an item or sub-item of an association request."""
    return struct.pack(">BxH", kind, len(value)) + value


def context(number: int, abstract: str | bytes = CT, transfer: Iterable[str] = (EXPLICIT,)) -> bytes:
    """Return a presentation context."""
    uid = abstract.encode() if isinstance(abstract, str) else abstract
    syntaxes = b"".join(item(0x40, each.encode()) for each in transfer)
    return item(0x20, bytes([number, 0, 0, 0]) + item(0x30, uid) + syntaxes)


def user(*more: bytes, longest: int = 16384) -> bytes:
    """Return the user information item, with more sub-items."""
    return item(0x50, item(0x51, struct.pack(">L", longest)) + item(0x52, b"1.2.3") + b"".join(more))


def request(
    called: bytes = b"VOXTELL".ljust(16),
    calling: bytes = b"CT1".ljust(16),
    contexts: Sequence[bytes] = (context(1), context(3, VERIFICATION, [IMPLICIT])),
    information: bytes | None = None,
) -> bytes:
    """Return an A-ASSOCIATE-RQ; titles as 16 bytes."""
    body = struct.pack(">Hxx16s16s32x", 1, called, calling) + item(0x10, b"1.2.840.10008.3.1.1.1") + b"".join(contexts)
    return pdu(0x01, body + (user() if information is None else information))


def pdu(kind: int, body: bytes) -> bytes:
    """Return a PDU of any type."""
    return struct.pack(">BxL", kind, len(body)) + body


def values(*parts: tuple[int, int, bytes]) -> bytes:
    """Return a P-DATA-TF of (context ID, message control header, fragment): header 1 command, 2 last fragment."""
    return pdu(0x04, b"".join(struct.pack(">LBB", len(data) + 2, number, head) + data for number, head, data in parts))


def command(field: int, sop_class: str = CT, sop_instance: str = "", *, data: bool = False, **more: bytes) -> bytes:
    """Return a command set, in Implicit VR Little Endian."""
    elements = {
        0x0002: sop_class.encode(),
        0x0100: struct.pack("<H", field),
        0x0110: struct.pack("<H", 1),
        0x0700: struct.pack("<H", 0),
        0x0800: struct.pack("<H", 0 if data else 0x0101),
        **({0x1000: sop_instance.encode()} if sop_instance else {}),
        **{int(tag, 16): value for tag, value in more.items()},
    }
    encoded = b""
    for number, value in sorted(elements.items()):
        padded = value + b"\0" * (len(value) % 2)
        encoded += struct.pack("<HHL", 0, number, len(padded)) + padded
    return struct.pack("<HHLL", 0, 0, 4, len(encoded)) + encoded


def store(dataset: bytes, sop_instance: str, number: int = 1, sop_class: str = CT) -> bytes:
    """Return the PDUs of a C-STORE request in presentation context `number`."""
    head = values((number, 3, command(0x0001, sop_class, sop_instance, data=True)))
    parts = [dataset[start : start + 65536] for start in range(0, len(dataset), 65536)] or [b""]
    last = len(parts) - 1
    return head + b"".join(values((number, 2 if place == last else 0, part)) for place, part in enumerate(parts))


def echo(number: int = 3) -> bytes:
    """Return the PDU of a C-ECHO request."""
    return values((number, 3, command(0x0030, VERIFICATION)))


def connect(port: int, *sent: bytes, timeout_s: float = 60) -> socket.socket:
    """Return a connection over which something was sent."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
    for data in sent:
        connection.sendall(data)
    return connection


def read_pdu(connection: socket.socket) -> tuple[int, bytes]:
    """Return type and body of the next PDU; (0, b"") where the connection ends."""
    try:
        head = _exactly(connection, 6)
        kind, length = struct.unpack(">BxL", head)
        return kind, _exactly(connection, length)
    except (EOFError, ConnectionError):
        return 0, b""


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def status(body: bytes) -> int:
    """Return the Status (0000,0900) of a response in a P-DATA-TF body."""
    at = body.index(struct.pack("<HHL", 0, 0x0900, 2)) + 8
    return int(struct.unpack_from("<H", body, at)[0])


def is_closed(connection: socket.socket) -> bool:
    """Return whether the other side has closed a connection; drops what it sent before."""
    connection.setblocking(False)
    try:
        while connection.recv(4096):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True

"""A-ASSOCIATE-RQ PDUs as they come, made such that pynetdicom reads them (PS3.8 section 9.3.2).

pynetdicom raises at AE titles padded with NUL, at text that is not ASCII and at sub-items that it does not know. Here
they are read as the standard asks a receiver to read them: what is not known is ignored (PS3.8 Annex D), and what we do
not negotiate is left out. What cannot be understood is refused with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Final

from voxtell_dicom.network.commitment import PUSH_MODEL

UNUSABLE_UID: Final = "2.25.0"  # in the place of a UID that is none: no service has it, so its context is refused

_FIXED: Final = Struct(">BxLHxx16s16s32x")  # type, length, protocol version, called and calling AE title
_ITEM: Final = Struct(">BxH")  # type and length
_APPLICATION_CONTEXT: Final = b"1.2.840.10008.3.1.1.1"
_UID: Final = re.compile(rb"[0-9.]{1,64}")
_CONTEXT, _USER_INFORMATION, _ABSTRACT_SYNTAX, _TRANSFER_SYNTAX = 0x20, 0x50, 0x30, 0x40
_MAXIMUM_LENGTH, _CLASS_UID, _ROLE, _VERSION_NAME = 0x51, 0x52, 0x54, 0x55
_SMALLEST_PDU: Final = 128  # below it an answer does not fit into its fragments


class InvalidRequest(ValueError):
    """An A-ASSOCIATE-RQ that cannot be understood; the message says why."""


@dataclass(frozen=True)
class Request:
    """A request that pynetdicom reads, with its AE titles as they were meant: without padding."""

    data: bytes
    calling_ae: str
    called_ae: str


def read_request(data: bytes) -> Request:
    """Return a request in the form that pynetdicom reads. Raises InvalidRequest."""
    if len(data) < _FIXED.size:
        raise InvalidRequest(f"an A-ASSOCIATE-RQ of {len(data)} bytes is too short")
    kind, _, version, called, calling = _FIXED.unpack_from(data)
    body = _item(0x10, _APPLICATION_CONTEXT)
    ids: set[int] = set()
    user: dict[int, bytes] = {}
    roles = b""
    for item, value in _items(data[_FIXED.size :]):
        if item == _CONTEXT:
            body += _item(_CONTEXT, _context(value, ids))
        elif item == _USER_INFORMATION:
            user |= dict(_items(value))
            roles += _roles(value)
    if not ids:
        raise InvalidRequest("no presentation context is proposed")
    body += _item(_USER_INFORMATION, _user_information(user) + roles)
    titles = _title(called), _title(calling)
    version = 1 if version & 1 else version  # a receiver tests bit 0 only
    head = _FIXED.pack(kind, _FIXED.size - 6 + len(body), version, *map(_printable, titles))
    return Request(head + body, calling_ae=titles[1], called_ae=titles[0])


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset < len(data):
        if offset + _ITEM.size > len(data):
            raise InvalidRequest("the last item is cut off")
        kind, length = _ITEM.unpack_from(data, offset)
        offset += _ITEM.size + length
        if offset > len(data):
            raise InvalidRequest(f"an item of type 0x{kind:02X} and {length} bytes is longer than what it lies in")
        yield kind, data[offset - length : offset]


def _item(kind: int, value: bytes) -> bytes:
    return _ITEM.pack(kind, len(value)) + value


def _context(value: bytes, ids: set[int]) -> bytes:
    """Return a presentation context whose UIDs are UIDs; `ids`: those of the contexts before it."""
    if len(value) < 4:
        raise InvalidRequest("a presentation context without an ID")
    number = value[0]
    if number % 2 == 0:
        raise InvalidRequest(f"presentation context ID {number}: an ID must be odd (PS3.8 section 9.3.2.2)")
    if number in ids:
        raise InvalidRequest(f"presentation context ID {number} is used twice")
    ids.add(number)
    syntaxes = list(_items(value[4:]))
    abstract = [_uid(text) for kind, text in syntaxes if kind == _ABSTRACT_SYNTAX]
    transfer = dict.fromkeys(_uid(text) for kind, text in syntaxes if kind == _TRANSFER_SYNTAX)
    if len(abstract) != 1 or not transfer:
        raise InvalidRequest(
            f"presentation context {number} has {len(abstract)} abstract and {len(transfer)} transfer syntaxes"
        )
    return value[:4] + _item(_ABSTRACT_SYNTAX, abstract[0]) + b"".join(_item(_TRANSFER_SYNTAX, uid) for uid in transfer)


def _uid(text: bytes) -> bytes:
    uid = text.strip(b"\0 ")
    return uid if _UID.fullmatch(uid) else UNUSABLE_UID.encode()


def _user_information(user: dict[int, bytes]) -> bytes:
    """Return what we use of the user information: largest PDU, implementation class and version."""
    length = user.get(_MAXIMUM_LENGTH, b"")
    longest = int.from_bytes(length, "big") if len(length) == 4 else 16384
    if 0 < longest < _SMALLEST_PDU:
        raise InvalidRequest(f"the caller takes PDUs of at most {longest} bytes, which hold no answer")
    kept = _item(_MAXIMUM_LENGTH, longest.to_bytes(4, "big"))
    class_uid = user.get(_CLASS_UID, b"").strip(b"\0 ")
    if _UID.fullmatch(class_uid):
        kept += _item(_CLASS_UID, class_uid)
    version = user.get(_VERSION_NAME, b"").decode("ascii", "replace").strip("\0 ")[:16]
    if version.isprintable() and version.isascii() and version.strip():
        kept += _item(_VERSION_NAME, version.encode())
    return kept


def _roles(user_information: bytes) -> bytes:
    """Return the role selection of Storage Commitment (PS3.7 D.3.3.4): who reports requests the association, too."""
    wanted = len(PUSH_MODEL).to_bytes(2, "big") + PUSH_MODEL.encode()
    found = [value for kind, value in _items(user_information) if kind == _ROLE and value[:-2] == wanted]
    return b"".join(_item(_ROLE, value) for value in found[:1] if max(value[-2:]) <= 1)


def _title(raw: bytes) -> str:
    """Return an AE title without padding: spaces on both sides, and all from a NUL on."""
    value = raw.split(b"\0")[0]
    try:
        return value.decode().strip(" ")
    except UnicodeDecodeError:
        return value.decode("latin-1").strip(" ")


def _printable(title: str) -> bytes:
    """Return 16 bytes in the place of a title, all ASCII; the answer repeats them, and nobody tests that."""
    text = "".join(char if char.isascii() and char.isprintable() and char != "\\" else "?" for char in title)
    return (text[:16] or "?").ljust(16).encode()

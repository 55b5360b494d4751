"""Elements in Explicit VR Little Endian, defined lengths (PS3.5 7.1.2, 7.5): for what is written by the thousand."""

from __future__ import annotations

import struct
from collections.abc import Iterable

LONG = frozenset(("OB", "OW", "SQ", "UN", "UT", "UC", "UR", "OF", "OD", "OL", "OV"))


def element(group: int, number: int, vr: str, value: bytes) -> bytes:
    """One element; the value is padded to an even length as its VR asks."""
    if len(value) % 2:
        value += b"\0" if vr in ("UI", "OB", "UN") else b" "
    return header(group, number, vr, len(value)) + value


def header(group: int, number: int, vr: str, length: int) -> bytes:
    """Tag, VR and length of an element whose value follows."""
    if vr in LONG:
        return struct.pack("<HH2s2xI", group, number, vr.encode(), length)
    return struct.pack("<HH2sH", group, number, vr.encode(), length)


def sequence(group: int, number: int, items: Iterable[bytes]) -> bytes:
    """A sequence of items, each given as its encoded elements in the order of their tags."""
    body = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in items)
    return header(group, number, "SQ", len(body)) + body


def code(value: str, scheme: str, meaning: str) -> bytes:
    """The elements of a code sequence item (PS3.3 8.8)."""
    return (
        element(0x0008, 0x0100, "SH", value.encode())
        + element(0x0008, 0x0102, "SH", scheme.encode())
        + element(0x0008, 0x0104, "LO", meaning.encode())
    )

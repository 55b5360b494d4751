"""Elements in Implicit VR Little Endian, defined lengths (PS3.5 7.1.3, 7.5): for what is written by the thousand."""

from __future__ import annotations

import struct
from collections.abc import Iterable


def element(group: int, number: int, value: bytes, *, padding: bytes = b" ") -> bytes:
    """One element; the value is padded to an even length: with a blank, or NUL for a UID."""
    if len(value) % 2:
        value += padding
    return struct.pack("<HHI", group, number, len(value)) + value


def sequence(group: int, number: int, items: Iterable[bytes]) -> bytes:
    """A sequence of items, each given as its encoded elements in the order of their tags."""
    body = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in items)
    return struct.pack("<HHI", group, number, len(body)) + body

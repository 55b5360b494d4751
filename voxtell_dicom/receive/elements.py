"""One walk over the elements of a dataset, to its end and within bounds; no value is converted (PS3.5 section 7).

What pydicom would read differently, or not at all, is refused here, before anybody relies on it. Where it is lenient we
are, too: a VR that is no two capital letters means an element in implicit VR; what is odd within a sequence of defined
length is skipped.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection
from dataclasses import dataclass, field
from struct import Struct, error
from typing import Final

from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, STANDARD_VR

from voxtell_dicom.archive.part10 import PIXEL_TAGS
from voxtell_dicom.config import Bounds
from voxtell_dicom.errors import Refusal

_ITEM, _ITEM_END, _ITEMS_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED: Final = 0xFFFFFFFF
_DEEPEST: Final = 64  # sequences within sequences; deeper ones end in Python's own limit
_LONGEST_PADDING: Final = 1 << 16  # zeros behind a dataset that are tolerated
_CHUNK: Final = 1 << 24
_FREE_INFLATION: Final = 1 << 26  # bytes to which a dataset may be inflated whatever the ratio
_LONG_FORM: Final = frozenset(str(vr).encode() for vr in EXPLICIT_VR_LENGTH_32)
_KNOWN: Final = frozenset(str(vr).encode() for vr in STANDARD_VR)


class Broken(Exception):
    """A dataset that is corrupt or truncated."""


@dataclass
class Elements:
    """What a walk found: values of the wanted elements; whether there are pixels; the bytes before them.

    places: start of a wanted element, start of its value, end.
    """

    data: bytes
    places: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    count: int = 0
    header_end: int = 0
    has_pixels: bool = False

    def value(self, tag: int) -> bytes:
        """Return the value of a wanted element, b"" where there is none."""
        _, start, end = self.places.get(tag, (0, 0, 0))
        return self.data[start:end]

    def element(self, tag: int) -> bytes:
        """Return a wanted element as it is encoded, b"" where there is none."""
        start, _, end = self.places.get(tag, (0, 0, 0))
        return self.data[start:end]


def inflated(data: bytes, bounds: Bounds) -> bytes:
    """Return a deflated dataset inflated. Raises Broken, Refusal ``too-large``."""
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    whole, rest = bytearray(), data
    while not inflate.eof:
        try:
            part = inflate.decompress(rest, _CHUNK)
        except zlib.error as problem:
            raise Broken(f"the deflated stream is corrupt: {problem}") from problem
        rest = inflate.unconsumed_tail
        whole += part
        if len(whole) > bounds.dataset_mb << 20:
            raise Refusal("too-large", f"the dataset inflates to more than {bounds.dataset_mb} MiB {_of('dataset_mb')}")
        if len(whole) > max(_FREE_INFLATION, bounds.inflation_ratio * (len(data) - len(rest))):
            ratio = f"{bounds.inflation_ratio:g} times its size {_of('inflation_ratio')}"
            raise Refusal("too-large", f"the deflated dataset inflates to more than {ratio}")
        if not part and not rest and not inflate.eof:
            raise Broken("the deflated stream ends early")
    return bytes(whole)


def walk(data: bytes, *, implicit: bool, little: bool, wanted: Collection[int], bounds: Bounds) -> Elements:
    """Walk a dataset to its end. Raises Broken, Refusal ``unreadable`` (unknown VR) or ``too-large``."""
    return _Walker(data, little, wanted, bounds).top(implicit)


def _of(bound: str) -> str:
    return f"(receive.bounds.{bound})"


class _Walker:
    def __init__(self, data: bytes, little: bool, wanted: Collection[int], bounds: Bounds) -> None:
        order = "<" if little else ">"
        self._data, self._wanted, self._bounds = data, wanted, bounds
        self._tag, self._short, self._long = Struct(f"{order}HH"), Struct(f"{order}H"), Struct(f"{order}L")
        self._found = Elements(data)

    def top(self, implicit: bool) -> Elements:
        """Walk the elements of the dataset itself."""
        found, offset, size = self._found, 0, len(self._data)
        while offset < size:
            if size - offset < 8 or self._data.startswith(b"\0\0\0\0", offset):
                self._check_padding(offset)
                break
            start = offset
            tag, vr, offset, length = self._head(offset, size, implicit)
            if tag == _ITEMS_END and length == 0:  # one too many
                continue
            if tag >> 16 == 0xFFFE:
                raise Broken(f"{_name(tag)} lies outside of a sequence, at byte {start}")
            value = offset
            offset = self._end(tag, vr, offset, length, size, 0)
            if tag in PIXEL_TAGS:
                found.has_pixels = True
            elif not found.has_pixels:
                found.header_end = offset
            if tag in self._wanted:
                found.places[tag] = start, value, offset
        return found

    def _check_padding(self, offset: int) -> None:
        zeros = len(self._data) - offset
        if self._data.count(0, offset) != zeros:
            raise Broken(f"no element begins at byte {offset} of {len(self._data)}")
        if zeros > _LONGEST_PADDING:
            raise Refusal("too-large", f"{zeros} zeros stand behind the dataset; {_LONGEST_PADDING} are tolerated")

    def _head(self, offset: int, limit: int, implicit: bool) -> tuple[int, bytes, int, int]:
        """Return tag, VR (b"" where implicit), start of the value, and its length."""
        self._found.count += 1
        if self._found.count > self._bounds.elements:
            raise Refusal("too-large", f"the dataset has more than {self._bounds.elements} elements {_of('elements')}")
        try:
            group, number = self._tag.unpack_from(self._data, offset)
            tag = group << 16 | number
            vr = b"" if implicit or group == 0xFFFE else self._data[offset + 4 : offset + 6]
            if not b"AA" <= vr <= b"ZZ":
                vr, start, (length,) = b"", offset + 8, self._long.unpack_from(self._data, offset + 4)
            elif vr in _LONG_FORM:
                start, (length,) = offset + 12, self._long.unpack_from(self._data, offset + 8)
            elif vr in _KNOWN:
                start, (length,) = offset + 8, self._short.unpack_from(self._data, offset + 6)
            else:
                raise Refusal("unreadable", f"the VR {vr.decode('latin-1')!r} of {_name(tag)} is none of DICOM's")
        except error:
            raise Broken(f"an element is cut off at byte {offset}") from None
        if start > limit:
            raise Broken(f"{_name(tag)} is cut off at byte {offset}")
        return tag, vr, start, length

    def _end(self, tag: int, vr: bytes, start: int, length: int, limit: int, depth: int) -> int:
        """Return where the value of an element ends. What lies in a sequence is walked."""
        if length == _UNDEFINED:
            if tag not in PIXEL_TAGS and vr not in (b"SQ", b"UN") and not self._has_items(start):
                return self._delimited(tag, start, limit)
            if tag in PIXEL_TAGS or vr not in (b"", b"SQ", b"UN"):
                return self._fragments(tag, start, limit)
            return self._items(start, limit, vr != b"SQ", depth + 1, defined=False)
        end = start + length
        if end > limit:
            raise Broken(f"{_name(tag)} has {limit - start} of {length} bytes")
        if vr == b"SQ" or (not vr and tag >> 16 != 0xFFFE and dictionary_has_tag(tag) and dictionary_VR(tag) == "SQ"):
            try:
                self._items(start, end, vr != b"SQ", depth + 1, defined=True)
            except Broken:
                return end
        return end

    def _items(self, offset: int, limit: int, implicit: bool, depth: int, *, defined: bool) -> int:
        """Walk the items of a sequence that ends at `limit` or, where its length is undefined, at its delimiter."""
        if depth > _DEEPEST:
            raise Refusal("too-large", f"sequences lie in each other deeper than {_DEEPEST}")
        while offset < limit:
            tag, _, offset, length = self._head(offset, limit, True)
            if tag == _ITEMS_END:
                return offset
            if tag != _ITEM:
                raise Broken(f"{_name(tag)} stands in the place of an item, at byte {offset - 8}")
            end = limit if length == _UNDEFINED else offset + length
            if end > limit:
                raise Broken(f"an item has {limit - offset} of {length} bytes")
            offset = self._item(offset, end, implicit, depth, defined=length != _UNDEFINED)
        if not defined:
            raise Broken("a sequence has no end")
        return offset

    def _item(self, offset: int, limit: int, implicit: bool, depth: int, *, defined: bool) -> int:
        """Walk the elements of an item; its first element tells its VR, as some write it otherwise than the dataset."""
        implicit = implicit or not b"AA" <= self._data[offset + 4 : offset + 6] <= b"ZZ"
        while offset < limit:
            tag, vr, offset, length = self._head(offset, limit, implicit)
            if tag == _ITEM_END:
                return offset
            if tag == _ITEMS_END and length == 0:
                continue
            if tag >> 16 == 0xFFFE:
                raise Broken(f"{_name(tag)} stands in the place of an element, at byte {offset - 8}")
            offset = self._end(tag, vr, offset, length, limit, depth)
        if not defined:
            raise Broken("an item has no end")
        return offset

    def _has_items(self, offset: int) -> bool:
        first = self._data[offset : offset + 4]
        return first in (self._tag.pack(0xFFFE, 0xE000), self._tag.pack(0xFFFE, 0xE0DD))

    def _delimited(self, tag: int, start: int, limit: int) -> int:
        """Return the end of a value of undefined length that is no sequence: behind the next delimiter."""
        end = self._data.find(self._tag.pack(0xFFFE, 0xE0DD) + bytes(4), start, limit)
        if end < 0:
            raise Broken(f"{_name(tag)} has no end")
        return end + 8

    def _fragments(self, tag: int, offset: int, limit: int) -> int:
        """Return the end of an encapsulated value (PS3.5 section A.4)."""
        while True:
            item, _, start, length = self._head(offset, limit, True)
            if item == _ITEMS_END:
                return start
            if item != _ITEM or start + length > limit:
                raise Broken(f"the encapsulated {_name(tag)} is broken at byte {offset}")
            offset = start + length


def _name(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"

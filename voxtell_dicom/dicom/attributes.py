"""Values of attributes by keyword or tag, None where a value is broken; fast enough for sixty of each of 1000 headers.

The slices of a series have mostly the same values, so each value is converted from its bytes once and remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any

from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

Lookup = Callable[[str], Any]
"""Returns the value of a keyword in the first of several datasets that has one; None where none has."""

PLAIN_VRS = frozenset(("AS", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "SL", "SS", "TM", "UI", "UL", "US"))
LONGEST = 256  # bytes of a value that is remembered


@cache
def _tag(keyword: str) -> BaseTag:
    return Tag(keyword)


@cache
def _vr(tag: BaseTag) -> str:
    return dictionary_VR(tag) if dictionary_has_tag(tag) else ""


def get(ds: Dataset, keyword: str) -> Any:
    """Return the value of an attribute; None where it is absent, empty, or not what its VR allows."""
    tag = _tag(keyword)
    return _value(ds, tag) if tag in ds.keys() else None  # noqa: SIM118 - the dictionary's own test: it converts nothing


def element(ds: Dataset, tag: int) -> DataElement | None:
    """Return the element of a tag; None where it is absent or not what its VR allows."""
    try:
        return ds.get(BaseTag(tag))
    except Exception:  # see `_value`
        return None


def _value(ds: Dataset, tag: BaseTag) -> Any:
    raw: Any = ds.get_item(tag)
    try:
        if isinstance(raw, RawDataElement) and raw.value and len(raw.value) <= LONGEST:
            vr = raw.VR or _vr(tag)
            if vr in PLAIN_VRS:  # means the same in every character set and beside any other attribute
                return _meaning(tag, vr, raw.value, raw.is_implicit_VR, raw.is_little_endian)
        return ds[tag].value
    except Exception:  # a number that is none, a broken sequence: pydicom raises many kinds; to us it is absent
        return None


@lru_cache(maxsize=1 << 14)
def _meaning(tag: BaseTag, vr: str, value: bytes, is_implicit_vr: bool, is_little_endian: bool) -> Any:
    raw = RawDataElement(tag, vr, len(value), value, 0, is_implicit_vr, is_little_endian)
    return convert_raw_data_element(raw).value


def whole(ds: Dataset, keyword: str, absent: int = 0) -> int:
    """Return the value of an attribute as an integer; `absent` where it is absent or 0, -1 where it is no integer."""
    value = get(ds, keyword)
    try:
        return int(value or absent)
    except (TypeError, ValueError, OverflowError):  # a word, several numbers, nan, infinity
        return -1


def text(ds: Dataset, keyword: str) -> str:
    """Return the value of an attribute as text without blanks around it; "" where it is absent."""
    value = get(ds, keyword)
    return "" if value is None else str(value).strip()


def number(value: object) -> float | None:
    """Return the first value as a float; None where there is none or it is no number."""
    if isinstance(value, (list, tuple)) or (isinstance(value, Sequence) and not isinstance(value, (str, bytes))):
        value = value[0] if len(value) else None
    if isinstance(value, bytes):
        value = value.split(b"\\")[0].decode("ascii", "ignore")
    try:
        return None if value is None else float(str(value).strip("\0 "))
    except ValueError:
        return None


def lookup(items: Sequence[Dataset]) -> Lookup:
    """Return a function that finds the value of a keyword in the first of `items` that has one."""
    present = [(item.keys(), item) for item in items]

    def look(keyword: str) -> Any:
        tag = _tag(keyword)
        for tags, item in present:
            if tag in tags:
                value = _value(item, tag)
                if value is not None:
                    return value
        return None

    return look

"""Attributes by keyword, by way of their tags: some sixty questions are asked of each of a thousand headers.

The slices of a series say mostly the same, so what an attribute's bytes mean is worked out once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any

from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import RawDataElement, convert_raw_data_element
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

Lookup = Callable[[str], Any]
"""Finds a keyword in the per-frame groups, then the shared ones, then at the top level; None where it is absent."""

PLAIN_VRS = frozenset(("AS", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "SL", "SS", "TM", "UI", "UL", "US"))
LONGEST = 256  # bytes of a value that is remembered


@cache
def _tag(keyword: str) -> BaseTag:
    return Tag(keyword)


@cache
def _vr(tag: BaseTag) -> str:
    return dictionary_VR(tag) if dictionary_has_tag(tag) else ""


def get(ds: Dataset, keyword: str) -> Any:
    """The value of an attribute; None where it is absent, empty, or not what its VR allows."""
    tag = _tag(keyword)
    return _value(ds, tag) if tag in ds.keys() else None  # noqa: SIM118 - the dictionary's own test: it converts nothing


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
    """The value of an attribute as a whole number; `absent` where it is absent or 0, -1 where it is no such number."""
    value = get(ds, keyword)
    try:
        return int(value or absent)
    except (TypeError, ValueError, OverflowError):  # a word, several numbers, nan, infinity
        return -1


def text(ds: Dataset, keyword: str) -> str:
    """The value of an attribute as text without blanks around it; "" where it is absent."""
    value = get(ds, keyword)
    return "" if value is None else str(value).strip()


def lookup(items: Sequence[Dataset]) -> Lookup:
    """Finds a keyword in the first item that has a value for it."""
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

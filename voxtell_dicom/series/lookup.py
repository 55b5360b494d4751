"""Attributes by keyword, by way of their tags: some sixty questions are asked of each of a thousand headers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

Lookup = Callable[[str], Any]
"""Finds a keyword in the per-frame groups, then the shared ones, then at the top level; None where it is absent."""


@cache
def _tag(keyword: str) -> BaseTag:
    return Tag(keyword)


def get(ds: Dataset, keyword: str) -> Any:
    """The value of an attribute; None where it is absent, empty, or not what its VR allows."""
    tag = _tag(keyword)
    return _value(ds, tag) if tag in ds.keys() else None  # noqa: SIM118 - the dictionary's own test: it converts nothing


def _value(ds: Dataset, tag: BaseTag) -> Any:
    try:
        return ds[tag].value
    except Exception:  # a number that is none, a broken sequence: pydicom raises many kinds; to us it is absent
        return None


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

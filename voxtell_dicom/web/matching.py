"""Attribute matching of QIDO-RS (PS3.18 section 8.3.4, PS3.4 section C.2.2.2) on datasets in the DICOM JSON Model."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

from voxtell_dicom.dicom.json_model import Json

RANGES: Final = frozenset(("DA", "TM", "DT"))
_WILDCARDS: Final = frozenset(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"))
_LISTS: Final = frozenset(("CS", "UI"))
_RANGE = re.compile(r"([0-9.:]*)-([0-9.:]*)")


def matches(element: Json | None, vr: str, wanted: str) -> bool:
    """Return whether an element has a value that a query wants; "" and "*" are met by every one, and by none.

    Names are compared without regard to case; several values are separated by commas or backslashes (UID List
    Matching, and code strings).
    """
    if wanted in ("", "*"):
        return True
    values = [text for value in (element or {}).get("Value", ()) for text in _texts(value)]
    if vr in _LISTS:
        return any(_one(text, vr, part.strip()) for part in re.split(r"[,\\]", wanted) for text in values)
    return any(_one(text, vr, wanted) for text in values)


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):  # the groups of components of a name
        return [str(text) for text in value.values()]
    return [] if value is None else [str(value)]


def _one(text: str, vr: str, wanted: str) -> bool:
    if vr in RANGES:
        return _in_range(text, wanted, vr)
    if vr in _WILDCARDS:
        return bool(_pattern(wanted, vr == "PN").fullmatch(text.strip()))
    if text == wanted:
        return True
    try:
        return float(text) == float(wanted)
    except ValueError:
        return False


@lru_cache(maxsize=256)
def _pattern(wanted: str, any_case: bool) -> re.Pattern[str]:
    """Return a pattern of a text with * and ?; stars in a row are one, so that none is slow."""
    parts = re.split(r"(\*+|\?)", wanted.strip())
    text = "".join(".*" if part.startswith("*") else "." if part == "?" else re.escape(part) for part in parts)
    return re.compile(text, re.DOTALL | (re.IGNORECASE if any_case else 0))


def _in_range(text: str, wanted: str, vr: str) -> bool:
    """Return whether a date or time lies in a range, both ends included, or begins with what is wanted."""
    plain = text.replace(":", "") if vr == "TM" else text.replace(".", "") if vr == "DA" else text
    found = _RANGE.fullmatch(wanted)
    if not found:
        return plain.startswith(wanted) if vr != "DA" else plain == wanted
    low, high = found.groups()
    return (not low or plain >= low) and (not high or plain[: len(high)] <= high)


def is_range(vr: str, wanted: str) -> bool:
    """Return whether what is wanted of a date or time is one, or a range of them."""
    digits = re.fullmatch(r"[0-9.]*(-[0-9.]*)?|\*", wanted)
    if vr == "DA":
        return bool(re.fullmatch(r"([0-9]{8})?(-([0-9]{8})?)?|\*", wanted))
    return bool(digits)

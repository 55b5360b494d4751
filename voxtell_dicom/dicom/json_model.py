"""Datasets in the DICOM JSON Model (PS3.18 annex F): broken values are left out, large ones are named by a URI."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Collection
from typing import Any, Final

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

Json = dict[str, Any]
BulkUri = Callable[[str], str]  # the path of an element, as "52009229/1/00289145", to the URI of its value

LARGEST_INLINE: Final = 1024  # bytes of a binary value
UTF_8: Final = "ISO_IR 192"
WORD: Final = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8, "OB": 1, "UN": 1}  # bytes, which big endian turns round
_CHARACTER_SET = "00080005"


def json_of(ds: Dataset, bulk_uri: BulkUri | None = None, only: Collection[int] | None = None) -> Json:
    """Return a dataset by tag. Values that are not what their VR allows are left out: nothing of them is known.

    bulk_uri: for binary values of more than `LARGEST_INLINE`; without it they are left out. only: tags.
    """
    return _items(ds, bulk_uri, only, "", little=ds.original_encoding[1] is not False)


def _items(ds: Dataset, bulk_uri: BulkUri | None, only: Collection[int] | None, path: str, *, little: bool) -> Json:
    found: Json = {}
    for tag in sorted(ds.keys()):
        if tag.element == 0 or (only is not None and tag not in only):
            continue
        key = f"{int(tag):08X}"
        try:
            found[key] = _element(ds[tag], bulk_uri, f"{path}{key}", little=little)
        except Exception:  # whatever a broken value makes pydicom raise
            continue
    if _CHARACTER_SET in found:  # JSON is in UTF-8, whatever the dataset was in
        found[_CHARACTER_SET] = {"vr": "CS", "Value": [UTF_8]}
    return found


def _element(element: DataElement, bulk_uri: BulkUri | None, path: str, *, little: bool) -> Json:
    vr = str(element.VR)
    if vr == "SQ":
        numbered = enumerate(element.value, 1)
        items = [_items(item, bulk_uri, None, f"{path}/{number}/", little=little) for number, item in numbered]
        return {"vr": vr, "Value": items} if items else {"vr": vr}
    if vr in WORD:
        return _binary(vr, element.value or b"", bulk_uri, path, little=little)
    found: Json = element.to_json_dict(None, LARGEST_INLINE)
    if vr in ("FL", "FD", "DS") and "Value" in found:
        found["Value"] = [_finite(value) for value in found["Value"]]
    return found


def _binary(vr: str, value: bytes, bulk_uri: BulkUri | None, path: str, *, little: bool) -> Json:
    if not value:
        return {"vr": vr}
    if len(value) > LARGEST_INLINE:
        if bulk_uri is None:
            raise ValueError("too large")
        return {"vr": vr, "BulkDataURI": bulk_uri(path)}
    return {"vr": vr, "InlineBinary": base64.b64encode(little_endian(value, vr, little=little)).decode()}


def little_endian(value: bytes, vr: str, *, little: bool) -> bytes:
    """Return a binary value in little endian, as JSON, bulk data and Explicit VR Little Endian have it."""
    word = WORD.get(vr, 1)
    if little or word == 1 or len(value) % word:
        return value
    return np.frombuffer(value, f">u{word}").astype(f"<u{word}").tobytes()


def _finite(value: Any) -> Any:
    """Return a number that JSON knows; the others are words (PS3.18 F.2.3)."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value

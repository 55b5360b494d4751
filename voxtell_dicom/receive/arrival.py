"""One dataset as it came from the network: checked to be whole, its identity read, its pixels untouched."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator
from io import BytesIO
from struct import Struct
from typing import Any

from pydicom.charset import convert_encodings
from pydicom.dataset import Dataset
from pydicom.filereader import data_element_generator
from pydicom.tag import BaseTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from voxtell_dicom.archive.instance import Arrival, Sender
from voxtell_dicom.archive.part10 import PIXEL_TAGS
from voxtell_dicom.dicom.own_objects import MANUFACTURER, is_own
from voxtell_dicom.errors import Refusal

__all__ = ["Arrival", "Sender", "read_arrival"]

_CHARACTER_SET = 0x00080005
_MANUFACTURER = 0x00080070
_EQUIPMENT = 0x0018A001  # Contributing Equipment Sequence
_ROWS = 0x00280010
_ITEM, _ITEMS_END = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
_UNDEFINED = 0xFFFFFFFF
_UID = re.compile(r"[0-9.]{1,64}")


def read_arrival(data: bytes, transfer_syntax_uid: str, sop_class_uid: str = "", sop_instance_uid: str = "") -> Arrival:
    """Walk a dataset to its end and read its identity.

    sop_class_uid, sop_instance_uid: what the C-STORE request names (Affected SOP …); "" where there is no request.
    Raises Refusal: ``unreadable`` (cannot be parsed, or truncated), ``no-identity`` (a UID is absent or no UID),
    ``sop-mismatch`` (the dataset is not what the request says it is; PS3.4 Table B.2-1, A900).
    """
    elements, header = _elements(data, transfer_syntax_uid, sop_instance_uid)
    ours = {
        "SOP Class UID (0008,0016)": _text(elements, 0x00080016),
        "SOP Instance UID (0008,0018)": _text(elements, 0x00080018),
        "Study Instance UID (0020,000D)": _text(elements, 0x0020000D),
        "Series Instance UID (0020,000E)": _text(elements, 0x0020000E),
    }
    for name, uid in ours.items():
        if not _UID.fullmatch(uid):
            what = "is empty or absent" if not uid else "is no UID (digits and dots, at most 64)"
            raise Refusal("no-identity", f"{name} {what}; the instance cannot be filed", uid=sop_instance_uid)
    sop_class, sop_instance, study, series = ours.values()
    for name, sent, found in (("Class", sop_class_uid, sop_class), ("Instance", sop_instance_uid, sop_instance)):
        if sent and sent != found:
            raise Refusal("sop-mismatch", f"SOP {name} UID is {found}, the request says {sent}", uid=sop_instance_uid)
    return Arrival(
        sop_class,
        sop_instance,
        series,
        study,
        _text(elements, 0x00100020),
        transfer_syntax_uid,
        hashlib.sha256(data).hexdigest(),
        _is_own(elements),
        _number(elements, 0x00201002, 0),
        _number(elements, 0x00280008, 1),
        data,
        header,
    )


def _elements(data: bytes, transfer_syntax_uid: str, uid: str) -> tuple[dict[int, Any], bytes]:
    """Return the top-level raw elements before Pixel Data, and their bytes; the rest is only walked.

    Raises Refusal ``unreadable``.
    """
    try:
        syntax = UID(transfer_syntax_uid)
        if syntax == DeflatedExplicitVRLittleEndian:
            inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            data = inflate.decompress(data)
            if not inflate.eof:
                raise EOFError("the deflated stream ends early")
        little, implicit = syntax != ExplicitVRBigEndian, syntax == ImplicitVRLittleEndian
        stream = BytesIO(data)
        found: dict[int, Any] = {}
        at_pixels = False

        def stop(tag: int, _vr: str | None, _length: int) -> bool:
            nonlocal at_pixels
            at_pixels = tag in PIXEL_TAGS
            return at_pixels

        end = 0
        for element in _whole(data_element_generator(stream, implicit, little, stop)):
            found[int(element.tag)] = element
            end = stream.tell()
        header = data[:end]
        if at_pixels:
            end = _after_pixels(data, stream.tell(), implicit, little)
            stream.seek(end)
            for _ in _whole(data_element_generator(stream, implicit, little)):
                end = stream.tell()
        elif _ROWS in found:
            raise EOFError("Rows (0028,0010) is there, but no pixel data")
        if data[end:].strip(b"\0"):  # zeros at the end are tolerated padding
            raise EOFError(f"no element begins at byte {end} of {len(data)}")
    except Exception as error:  # whatever a corrupt stream makes the parser raise
        raise Refusal("unreadable", f"the dataset is corrupt or truncated: {error}", uid=uid) from error
    if not found:
        raise Refusal("unreadable", "the dataset is empty", uid=uid)
    return found, header


def _whole(elements: Iterator[Any]) -> Iterator[Any]:
    for element in elements:
        length, value = getattr(element, "length", None), element.value
        if isinstance(value, bytes) and isinstance(length, int) and length not in (_UNDEFINED, len(value)):
            raise EOFError(f"{element.tag} has {len(value)} of {length} bytes")
        yield element


def _after_pixels(data: bytes, start: int, implicit: bool, little: bool) -> int:
    """Offset behind the pixel data element that begins at `start` (PS3.5 § 7.1, § A.4)."""
    order = "<" if little else ">"
    head = Struct(f"{order}L")
    offset = start + (8 if implicit else 12)
    (length,) = head.unpack_from(data, offset - 4)
    if length != _UNDEFINED:
        if offset + length > len(data):
            raise EOFError(f"Pixel Data has {len(data) - offset} of {length} bytes")
        return offset + int(length)
    item = Struct("<HHL")
    while True:
        group, number, length = item.unpack_from(data, offset)
        offset += 8
        if (group, number) == _ITEMS_END:
            return offset
        if (group, number) != _ITEM or offset + length > len(data):
            raise EOFError(f"encapsulated Pixel Data is broken at byte {offset - 8}")
        offset += length


def _text(elements: dict[int, Any], tag: int) -> str:
    raw = elements.get(tag)
    if raw is None or not isinstance(raw.value, bytes):
        return ""
    value = raw.value
    if not value.isascii() and tag != _CHARACTER_SET:
        charset = _text(elements, _CHARACTER_SET).split("\\")
        try:
            encoding = convert_encodings([name.strip() for name in charset])[0]
        except (LookupError, ValueError):
            encoding = "latin-1"
        value = value.decode(encoding, "replace").encode()
    return str(value.decode("utf-8", "replace")).rstrip("\0 ").lstrip(" ")


def _number(elements: dict[int, Any], tag: int, default: int) -> int:
    try:
        return int(_text(elements, tag))
    except ValueError:
        return default


def _is_own(elements: dict[int, Any]) -> bool:
    if _EQUIPMENT not in elements and MANUFACTURER not in _text(elements, _MANUFACTURER).casefold():
        return False  # nearly always, and without building a dataset
    header = Dataset({BaseTag(tag): elements[tag] for tag in (_MANUFACTURER, _EQUIPMENT) if tag in elements})
    try:
        header.get("ContributingEquipmentSequence")
    except Exception as error:  # whatever a corrupt sequence makes the parser raise
        raise Refusal("unreadable", f"Contributing Equipment Sequence (0018,A001) is corrupt: {error}") from error
    return is_own(header)

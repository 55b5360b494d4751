"""One dataset as it came from the network: checked to be whole, its identity read, its pixels untouched."""

from __future__ import annotations

import hashlib
import re
from io import BytesIO

from pydicom.charset import convert_encodings
from pydicom.filereader import read_dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from voxtell_dicom.archive.instance import Arrival, Sender
from voxtell_dicom.config import Bounds
from voxtell_dicom.dicom.own_objects import MANUFACTURER, is_own
from voxtell_dicom.dicom.sop_classes import not_acquired_family
from voxtell_dicom.errors import Refusal
from voxtell_dicom.receive.elements import Broken, Elements, inflated, walk

__all__ = ["Arrival", "Sender", "read_arrival"]

_CHARACTER_SET = 0x00080005
_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
_MANUFACTURER, _CONTRIBUTING_EQUIPMENT = 0x00080070, 0x0018A001
_PATIENT_ID, _IMAGES_IN_ACQUISITION, _FRAMES, _ROWS = 0x00100020, 0x00201002, 0x00280008, 0x00280010
_WANTED = {
    *(_CHARACTER_SET, _SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES, _MANUFACTURER, _CONTRIBUTING_EQUIPMENT),
    *(_PATIENT_ID, _IMAGES_IN_ACQUISITION, _FRAMES, _ROWS),
}
_UID = re.compile(r"[0-9.]{1,64}")
_DEFAULT_BOUNDS = Bounds()


def read_arrival(
    data: bytes,
    transfer_syntax_uid: str,
    sop_class_uid: str = "",
    sop_instance_uid: str = "",
    *,
    bounds: Bounds = _DEFAULT_BOUNDS,
) -> Arrival:
    """Walk a dataset to its end and read its identity.

    sop_class_uid, sop_instance_uid: what the C-STORE request names (Affected SOP …); "" where there is no request.
    Raises Refusal: ``unreadable`` (cannot be parsed, or truncated), ``too-large`` (beyond a bound), ``no-identity`` (a
    UID is absent or no UID), ``sop-mismatch`` (the dataset is not what the request says; PS3.4 Table B.2-1, A900).
    """
    try:
        found = _walked(data, UID(transfer_syntax_uid), bounds)
    except Broken as problem:
        raise Refusal("unreadable", f"the dataset is corrupt or truncated: {problem}", uid=sop_instance_uid) from None
    ours = {
        "SOP Class UID (0008,0016)": _text(found, _SOP_CLASS),
        "SOP Instance UID (0008,0018)": _text(found, _SOP_INSTANCE),
        "Study Instance UID (0020,000D)": _text(found, _STUDY),
        "Series Instance UID (0020,000E)": _text(found, _SERIES),
    }
    for name, uid in ours.items():
        if not _UID.fullmatch(uid):
            what = "is empty or absent" if not uid else "is no UID (digits and dots, at most 64)"
            raise Refusal("no-identity", f"{name} {what}; the instance cannot be filed", uid=sop_instance_uid)
    sop_class, sop_instance, study, series = ours.values()
    for name, sent, had in (("Class", sop_class_uid, sop_class), ("Instance", sop_instance_uid, sop_instance)):
        if sent and sent != had:
            raise Refusal("sop-mismatch", f"SOP {name} UID is {had}, the request says {sent}", uid=sop_instance_uid)
    if _ROWS in found.places and not found.has_pixels and _has_pixels_by_definition(sop_class):
        what = "Rows (0028,0010) is there, but no pixel data"
        raise Refusal("unreadable", f"the dataset is corrupt or truncated: {what}", uid=sop_instance_uid)
    return Arrival(
        sop_class,
        sop_instance,
        series,
        study,
        _text(found, _PATIENT_ID),
        transfer_syntax_uid,
        hashlib.sha256(data).hexdigest(),
        _is_own(found, UID(transfer_syntax_uid)),
        _number(found, _IMAGES_IN_ACQUISITION, 0),
        _number(found, _FRAMES, 1),
        data,
        bytes(found.data[: found.header_end]),
    )


def _walked(data: bytes, syntax: UID, bounds: Bounds) -> Elements:
    """Return the wanted elements. Raises Broken, Refusal."""
    if not data:
        raise Broken("it is empty")
    if syntax == DeflatedExplicitVRLittleEndian:
        data = inflated(data, bounds)
    implicit, little = _encoding(syntax)
    return walk(data, implicit=implicit, little=little, wanted=_WANTED, bounds=bounds)


def _encoding(syntax: UID) -> tuple[bool, bool]:
    """Return whether a transfer syntax has implicit VR, and whether it is little endian."""
    return syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian


def _has_pixels_by_definition(sop_class_uid: str) -> bool:
    """Return whether the standard says that an instance with Rows has pixels: not for MR Spectroscopy and its like."""
    return UID(sop_class_uid).type == "SOP Class" and not not_acquired_family(sop_class_uid)


def _text(found: Elements, tag: int) -> str:
    value = found.value(tag)
    if not value.isascii() and tag != _CHARACTER_SET:
        charset = _text(found, _CHARACTER_SET).split("\\")
        try:
            encoding = convert_encodings([name.strip() for name in charset])[0]
        except (LookupError, ValueError):
            encoding = "latin-1"
        value = value.decode(encoding, "replace").encode()
    return str(value.decode("utf-8", "replace")).rstrip("\0 ").lstrip(" ")


def _number(found: Elements, tag: int, default: int) -> int:
    try:
        return int(_text(found, tag))
    except ValueError:
        return default


def _is_own(found: Elements, syntax: UID) -> bool:
    encoded = found.element(_MANUFACTURER) + found.element(_CONTRIBUTING_EQUIPMENT)
    if not found.element(_CONTRIBUTING_EQUIPMENT) and MANUFACTURER not in _text(found, _MANUFACTURER).casefold():
        return False  # nearly always, and without building a dataset
    try:
        header = read_dataset(BytesIO(encoded), *_encoding(syntax))
        header.get("ContributingEquipmentSequence")
    except Exception as error:  # whatever a corrupt sequence makes the parser raise
        raise Refusal("unreadable", f"Contributing Equipment Sequence (0018,A001) is corrupt: {error}") from error
    return is_own(header)

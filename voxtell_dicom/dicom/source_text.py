"""Text of a source header byte for byte, so that results carry it unchanged (contracts.md, identity text).

pydicom decodes text when it is read and encodes it again when it is written: bytes that the declared character set
does not know become U+FFFD on the way, and a name without a declared set becomes another one in another set.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filewriter import correct_ambiguous_vr
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.valuerep import STR_VR

from voxtell_dicom.dicom.library_internals import write_undecoded
from voxtell_dicom.dicom.subject import PATIENT_AND_STUDY

EQUIPMENT: Final = (  # of the device that acquired the source, repeated in Contributing Equipment Sequence
    "Manufacturer",
    "InstitutionName",
    "StationName",
    "ManufacturerModelName",
    "DeviceSerialNumber",
    "SoftwareVersions",
    "DeviceUID",
)
_REPEATED: Final = frozenset(tag_for_keyword(keyword) for keyword in (*PATIENT_AND_STUDY, *EQUIPMENT))
_ESCAPE: Final = 0x1B  # begins a change of the character set (PS3.5 section 6.1.2.5)


def repeated_elements(header: Dataset) -> Dataset:
    """Return the elements that results repeat as they were read; of a header whose values were not read before.

    Cheap, for every header: `source_text` does the rest for the one that is needed.
    """
    found = Dataset()
    for tag in header.keys() & _REPEATED:
        element = header.get_item(tag)
        decoded = not isinstance(element, RawDataElement) and element.VR == "SQ"  # of undefined length
        found[tag] = DataElement(tag, "SQ", Sequence([_item(item) for item in element.value])) if decoded else element
    return found


def source_text(repeated: Dataset) -> Dataset:
    """Return the text among `repeated_elements` as undecoded elements in Explicit VR Little Endian."""
    found = Dataset()
    for tag in repeated.keys():  # noqa: SIM118 - the elements are not to be decoded
        element = _undecoded(repeated, tag)
        if element is not None:
            found[tag] = element
    return found


def _undecoded(ds: Dataset, tag: BaseTag) -> DataElement | RawDataElement | None:
    """Return an element as it was read; a sequence with such elements; None for what is no text."""
    raw: Any = ds.get_item(tag)
    vr = raw.VR if raw.VR not in (None, "UN") else dictionary_VR(tag) if keyword_for_tag(tag) else "UN"
    if vr == "SQ":
        try:
            items = ds[tag].value
        except Exception:  # whatever a broken sequence makes the parser raise: `drop_broken` removes it
            return None
        return DataElement(tag, "SQ", Sequence([_item(item) for item in items]))
    if vr not in STR_VR or not isinstance(raw, RawDataElement) or not (raw.value or b"").strip(b"\0 "):
        return None
    assert raw.value is not None
    value = raw.value + (b"\0" if vr == "UI" else b" ") * (len(raw.value) % 2)
    return RawDataElement(tag, vr, len(value), value, 0, False, True)


def _item(item: Dataset) -> Dataset:
    copied = Dataset()
    for tag in item.keys():  # noqa: SIM118 - the elements are not to be decoded
        element = _undecoded(item, tag)
        if element is None:
            try:
                element = item[tag]
            except Exception:  # a value that its VR does not allow: `drop_broken` removes it, too
                continue
        copied[tag] = element
    return copied


def is_ascii(text: Dataset) -> bool:
    """Return True if the text reads the same in every character set: no other bytes, no code extensions."""
    return all(value.isascii() and _ESCAPE not in value for value in _values(text))


def _values(text: Dataset) -> Iterator[bytes]:
    for element in text.elements():
        if isinstance(element, RawDataElement):
            yield element.value or b""
        elif element.VR == "SQ":
            for item in element.value:
                yield from _values(item)


def restore_text(ds: Dataset, text: Dataset, *, implicit: bool) -> None:
    """Put undecoded text in the place of the same attributes of a result, where those have a value.

    Also in the item of the source's device in Contributing Equipment Sequence. implicit: how `ds` is to be written,
    in Little Endian; what is read of it after this call is decoded.
    """
    correct_ambiguous_vr(ds, True)  # pydicom leaves it out where it writes undecoded elements
    for item in (ds.get("ContributingEquipmentSequence") or [])[1:]:  # the first item is ours
        _restore(item, text, EQUIPMENT, implicit)
    _restore(ds, text, PATIENT_AND_STUDY, implicit)


def _restore(ds: Dataset, text: Dataset, keywords: tuple[str, ...], implicit: bool) -> None:
    for keyword in keywords:
        if keyword in text and ds.get(keyword):
            ds[keyword] = text.get_item(keyword)
    _write_undecoded(ds, implicit)


def _write_undecoded(ds: Dataset, implicit: bool) -> None:
    write_undecoded(ds, implicit=implicit)
    for element in list(ds.elements()):
        if isinstance(element, DataElement) and element.VR == "SQ" and element.tag in _REPEATED:
            for item in element.value:
                _write_undecoded(item, implicit)

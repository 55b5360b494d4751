"""The Native DICOM Model (PS3.19 A.1) of a dataset in the DICOM JSON Model: both say the same."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from pydicom.datadict import keyword_for_tag

from voxtell_dicom.dicom.json_model import Json

_NAMESPACE = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # in XML 1.0
_COMPONENTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")


def xml_of(dataset: Json) -> bytes:
    """Return a dataset as a document."""
    root = Element("NativeDicomModel", {"xmlns": _NAMESPACE, "xml:space": "preserve"})
    _add(root, dataset)
    content: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return content


def _add(parent: Element, dataset: Json) -> None:
    for key, element in dataset.items():
        names = {"tag": key, "vr": element["vr"]}
        if keyword := keyword_for_tag(int(key, 16)):
            names["keyword"] = keyword
        target = SubElement(parent, "DicomAttribute", names)
        if "BulkDataURI" in element:
            SubElement(target, "BulkData", {"uri": element["BulkDataURI"]})
        if "InlineBinary" in element:
            SubElement(target, "InlineBinary").text = element["InlineBinary"]
        for number, value in enumerate(element.get("Value", ()), 1):
            _add_value(target, element["vr"], number, value)


def _add_value(target: Element, vr: str, number: int, value: Any) -> None:
    place = {"number": str(number)}
    if vr == "SQ":
        _add(SubElement(target, "Item", place), value or {})
    elif vr == "PN":
        person = SubElement(target, "PersonName", place)
        for group, text in (value or {}).items():
            components = SubElement(person, group)
            for name, part in zip(_COMPONENTS, str(text).split("^"), strict=False):
                if part:
                    SubElement(components, name).text = _clean(part)
    elif value is not None:
        SubElement(target, "Value", place).text = _clean(str(value))


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("?", text)

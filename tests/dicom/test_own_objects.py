"""One answer to "is it ours", of the receiver and of the rules."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.dataset import Dataset

from tests.receive.receiving import make_slice
from tests.receive.sending import encode
from voxtell_dicom.config import Rule
from voxtell_dicom.receive.arrival import read_arrival
from voxtell_dicom.rules import match

SEG = "1.2.840.10008.5.1.4.1.1.66.4"
EXPLICIT = "1.2.840.10008.1.2.1"


def with_equipment(name: str) -> dict[str, Any]:
    item = Dataset()
    item.Manufacturer = name
    return {"ContributingEquipmentSequence": [item]}


@pytest.mark.parametrize(
    ("attributes", "own"),
    [
        ({"SOPClassUID": SEG, "Manufacturer": "voxtell-dicom"}, True),
        ({"SOPClassUID": SEG, "Manufacturer": "Slicer", **with_equipment("Voxtell-DICOM ")}, True),
        ({"Manufacturer": "voxtell-dicom"}, True),  # 0.1: not to the rules
        (with_equipment("voxtell-dicom"), True),  # 0.1: not to the rules
        ({"SOPClassUID": SEG, "Manufacturer": "voxtell-dicom phantom"}, False),  # 0.1: ours to the rules
        ({"SOPClassUID": SEG, "ManufacturerModelName": "voxtell-dicom viewer"}, False),  # 0.1: ours to the rules
        ({"Manufacturer": "voxtell-dicom phantom"}, False),
        ({}, False),
    ],
)
def test_receiver_and_rules_agree(attributes: dict[str, Any], own: bool) -> None:
    instance = make_slice("1.2.3", 1, **attributes)
    assert read_arrival(encode(instance), EXPLICIT).own == own
    when = {"Modality": "CT", "SOPClassUID": instance.SOPClassUID}
    (found,) = match([Rule(name="r", when=when, prompts=["liver"])], [instance], {})
    assert found.why_not == ("source" if own else "")

"""Which rules a refused series meets, by headers that may be the very reason why it is refused."""

from __future__ import annotations

import pytest
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from voxtell_dicom.config import Rule
from voxtell_dicom.rules.match import match
from voxtell_dicom.rules.refused import would_match

RULE = Rule.model_validate(
    {
        "name": "r",
        "when": {"Modality": "CT", "TableSpeed": {"at_most": 9}, "volume": {"plane": "axial", "rows": {"at_least": 9}}},
        "prompts": ["liver"],
        "send_to": ["pacs"],
    }
)


def header(**broken: bytes) -> Dataset:
    ds = Dataset()
    ds.Modality, ds.TableSpeed, ds.Rows = "CT", 1.0, 512
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    for keyword, value in broken.items():
        tag = Tag(keyword)
        ds[tag] = RawDataElement(tag, dictionary_VR(tag), len(value), value, 0, False, True)
    return ds


@pytest.mark.parametrize(
    ("broken", "met"),
    [
        ({}, True),
        ({"ImageOrientationPatient": b"a\\b\\c\\d\\e\\f "}, True),  # of the plane nothing is known
        ({"Rows": b"\x00\x02\x00\x02"}, True),  # two numbers
        ({"ConvolutionKernel": b"\xff\xff", "ContrastBolusAgent": b"\xff\xff"}, True),
        ({"TableSpeed": b"0.663 "}, False),  # asked for, and absent
    ],
    ids=lambda value: next(iter(value), "sound") if isinstance(value, dict) else "",
)
def test_what_is_broken_counts_as_absent(broken: dict[str, bytes], met: bool) -> None:
    assert bool(would_match([RULE], [header(**broken)], {})) == met
    (found,) = match([RULE], [header(**broken)], {"volume": {"plane": "axial", "rows": 512}})
    assert found.met == met

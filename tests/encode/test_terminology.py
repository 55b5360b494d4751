"""Prompts and codes: what is known, what is private, and that it never changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from voxtell_dicom.encode.terminology import PRIVATE_SCHEME, private_code, term_of, write_term

LIVER, KIDNEY, LUNG, BRAIN = "10200004", "64033007", "39607008", "12738006"
STRUCTURE, ABNORMAL = "91723000", "49755003"
LEFT, RIGHT, BOTH = "7771000", "24028007", "51440002"
LESION, NEOPLASM, NODULE = "52988006", "108369006", "27925004"


@pytest.mark.parametrize(
    ("prompt", "category", "kind", "side", "region"),
    [
        ("liver", STRUCTURE, LIVER, None, None),
        ("The Liver", STRUCTURE, LIVER, None, None),
        ("spleen", STRUCTURE, "78961009", None, None),
        ("aorta", STRUCTURE, "15825003", None, None),
        ("urinary bladder", STRUCTURE, "89837001", None, None),
        ("bladder", STRUCTURE, "89837001", None, None),
        ("vertebral column", STRUCTURE, "421060004", None, None),
        ("right kidney", STRUCTURE, KIDNEY, RIGHT, None),
        ("kidney left", STRUCTURE, KIDNEY, LEFT, None),
        ("kidneys", STRUCTURE, KIDNEY, BOTH, None),
        ("both kidneys", STRUCTURE, KIDNEY, BOTH, None),
        ("left and right kidney", STRUCTURE, KIDNEY, BOTH, None),
        ("adrenal gland", STRUCTURE, "23451007", None, None),
        ("left adrenal gland", STRUCTURE, "23451007", LEFT, None),
        ("right femur", STRUCTURE, "71341001", RIGHT, None),
        ("body", STRUCTURE, "38266002", None, None),
        ("L3 vertebra", STRUCTURE, "36470004", None, None),
        ("liver lesion", ABNORMAL, LESION, None, LIVER),
        ("lesions in the liver", ABNORMAL, LESION, None, LIVER),
        ("hepatic tumour", ABNORMAL, NEOPLASM, None, LIVER),
        ("left kidney tumour", ABNORMAL, NEOPLASM, LEFT, KIDNEY),
        ("tumor of the left kidney", ABNORMAL, NEOPLASM, LEFT, KIDNEY),
        ("lung nodule", ABNORMAL, NODULE, None, LUNG),
        ("brain tumor", ABNORMAL, NEOPLASM, None, BRAIN),
        ("pleural effusion", ABNORMAL, "60046008", None, None),
        ("lesion", ABNORMAL, LESION, None, None),
        ("metastases", ABNORMAL, "14799000", None, None),
    ],
)
def test_what_is_known(prompt: str, category: str, kind: str, side: str | None, region: str | None) -> None:
    term = term_of(prompt)
    assert term.category.value == category
    assert (term.type.value, term.type.scheme) == (kind, "SCT")
    assert (term.laterality.value if term.laterality else None) == side
    assert (term.region.value if term.region else None) == region


@pytest.mark.parametrize(
    "prompt", ["> 300", "spiculated shadow near the hilum", "liver and spleen", "liver without vessels"]
)
def test_what_is_not_wholly_understood_is_private(prompt: str) -> None:
    term = term_of(prompt)
    assert term.type.scheme == PRIVATE_SCHEME
    assert term.type.meaning == prompt


def test_private_codes_are_stable() -> None:
    assert private_code("spiculated shadow").value == "P0F7235CB1B6F"
    assert private_code("  Spiculated  SHADOW ").value == private_code("spiculated shadow").value
    assert private_code("spiculated shadows").value != private_code("spiculated shadow").value


@given(st.text(min_size=1, max_size=300))
def test_any_prompt_gets_codes_that_fit(prompt: str) -> None:
    term = term_of(prompt)
    for code in (term.category, term.type, term.laterality, term.region):
        if code is not None:
            assert 0 < len(code.value) <= 16
            assert 0 < len(code.meaning) <= 64
    assert term == term_of(prompt)


def test_a_side_stands_where_the_standard_puts_it() -> None:
    segment = Dataset()
    write_term(segment, term_of("left kidney tumour"))
    (region,) = segment.AnatomicRegionSequence
    assert region.AnatomicRegionModifierSequence[0].CodeMeaning == "Left"
    assert "SegmentedPropertyTypeModifierCodeSequence" not in segment.SegmentedPropertyTypeCodeSequence[0]
    segment = Dataset()
    write_term(segment, term_of("left kidney"))
    (kind,) = segment.SegmentedPropertyTypeCodeSequence
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    assert "AnatomicRegionSequence" not in segment

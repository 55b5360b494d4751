"""Prompts and codes: what is known, what is private, and that it never changes."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sr._concepts_dict import concepts

from tests.encode import made
from voxtell_dicom.config import PromptSettings
from voxtell_dicom.encode import OutputContext, encode_seg
from voxtell_dicom.rules import resolve
from voxtell_dicom.terms.spelling import key_of, spelled
from voxtell_dicom.terms.terminology import (
    CATEGORIES,
    PRIVATE_SCHEME,
    SIDES,
    _table,
    private_code,
    term_for,
    term_of,
    write_term,
)
from voxtell_dicom.terms.word_lists import rows, words

LIVER, KIDNEY, LUNG, BRAIN = "10200004", "64033007", "39607008", "12738006"
STRUCTURE, ABNORMAL, OBJECT, TISSUE = "91723000", "49755003", "260787004", "85756007"
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
        # plurals, sides and spellings
        ("Livers", STRUCTURE, LIVER, None, None),
        ("adrenal glands", STRUCTURE, "23451007", BOTH, None),
        ("bilateral adrenal glands", STRUCTURE, "23451007", BOTH, None),
        ("left adrenal", STRUCTURE, "23451007", LEFT, None),
        ("oesophagus", STRUCTURE, "32849002", None, None),
        ("grey matter", STRUCTURE, "389081007", None, None),
        ("haematoma", ABNORMAL, "35566002", None, None),
        ("oedema", ABNORMAL, "79654002", None, None),
        # lobes, vertebrae, ribs
        ("right upper lobe of the lung", STRUCTURE, "45653009", RIGHT, None),
        ("upper lobe of left lung", STRUCTURE, "45653009", LEFT, None),
        ("left lower lobe", STRUCTURE, "90572001", LEFT, None),
        ("middle lobe of right lung", STRUCTURE, "72481006", None, None),
        ("right middle lobe", STRUCTURE, "72481006", None, None),
        ("third lumbar vertebra", STRUCTURE, "36470004", None, None),
        ("vertebra L3", STRUCTURE, "36470004", None, None),
        ("C7", STRUCTURE, "87391001", None, None),
        ("T12 vertebral body", STRUCTURE, "3572006", None, "23215003"),
        ("left rib 5", STRUCTURE, "15339008", LEFT, None),
        ("5th right rib", STRUCTURE, "15339008", RIGHT, None),
        ("twelfth rib", STRUCTURE, "43993008", None, None),
        # muscles, vessels, nodes, brain
        ("right gluteus maximus", STRUCTURE, "181674001", RIGHT, None),
        ("iliopsoas muscles", STRUCTURE, "68455001", BOTH, None),
        ("erector spinae", STRUCTURE, "44947003", None, None),
        ("autochthonous back muscles", STRUCTURE, "244849004", None, None),
        ("skeletal muscle", STRUCTURE, "127954009", None, None),
        ("inferior vena cava", STRUCTURE, "64131007", None, None),
        ("IVC", STRUCTURE, "64131007", None, None),
        ("superior mesenteric artery", STRUCTURE, "42258001", None, None),
        ("left common iliac artery", STRUCTURE, "73634005", LEFT, None),
        ("pulmonary arteries", STRUCTURE, "81040000", None, None),
        ("portal vein and splenic vein", STRUCTURE, "110765007", None, None),
        ("mediastinal lymph nodes", STRUCTURE, "62683002", None, None),
        ("lymph nodes", TISSUE, "59441001", None, None),
        ("left hippocampus", STRUCTURE, "5366008", LEFT, None),
        ("brainstem", STRUCTURE, "119238007", None, None),
        ("right lateral ventricle", STRUCTURE, "66720007", RIGHT, None),
        ("left ventricle", STRUCTURE, "87878005", None, None),
        ("myocardium", STRUCTURE, "74281007", None, None),
        ("left optic nerve", STRUCTURE, "18234004", LEFT, None),
        ("femoral head", STRUCTURE, "2812003", None, None),
        ("subcutaneous fat", TISSUE, "67769002", None, None),
        # findings in places
        ("renal cysts", ABNORMAL, "367643001", None, KIDNEY),
        ("cyst in the left kidney", ABNORMAL, "367643001", LEFT, KIDNEY),
        ("bilateral lung nodules", ABNORMAL, NODULE, BOTH, LUNG),
        ("liver metastases", ABNORMAL, "14799000", None, LIVER),
        ("pancreatic carcinoma", ABNORMAL, NEOPLASM, None, "15776009"),
        ("pulmonary embolism", ABNORMAL, "55584005", None, LUNG),
        ("right pleural effusion", ABNORMAL, "60046008", RIGHT, None),
        ("pericardial effusion", ABNORMAL, "373945007", None, None),
        ("intracranial haemorrhage", ABNORMAL, "50960005", None, "1101003"),
        ("pneumothorax", ABNORMAL, "36118008", None, None),
        # what was put in
        ("stent", OBJECT, "65818007", None, None),
        ("pacemaker", OBJECT, "14106009", None, None),
        ("left hip prosthesis", OBJECT, "53350007", LEFT, "29836001"),
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


@pytest.mark.parametrize(
    ("prompt", "category"),
    [
        ("left psoas muscle", STRUCTURE),
        ("rib fracture", ABNORMAL),
        ("fracture of the left femur", ABNORMAL),
        ("glioma", ABNORMAL),
        ("hepatocellular carcinoma", ABNORMAL),
        ("kidney stones", ABNORMAL),
        ("enlarged axillary lymph nodes", ABNORMAL),
        ("spleen infarct", ABNORMAL),
        ("screws in the sacrum", OBJECT),
    ],
)
def test_a_private_code_has_its_category(prompt: str, category: str) -> None:
    term = term_of(prompt)
    assert (term.type.scheme, term.category.value) == (PRIVATE_SCHEME, category)


def _named_by_pydicom() -> dict[str, set[str]]:
    """SNOMED CT values and their meanings, in small letters, as PS3.16 has them."""
    every: dict[str, set[str]] = {}
    for named in concepts["SCT"].values():
        for value, (meaning, _) in named.items():
            every.setdefault(value, set()).add(meaning.casefold())
    return every


def _words(meaning: str) -> set[str]:
    return {*re.findall(r"[a-z0-9]+", meaning.casefold())} - {"structure", "of", "bone", "body", "muscle"}


def test_each_code_is_what_pydicom_says_it_is() -> None:
    """Value and meaning together, but for those of `codes.csv` whose source is another."""
    every: dict[tuple[str, str], set[str]] = {}
    for scheme, table in concepts.items():
        for named in table.values():
            for value, (meaning, _) in named.items():
                every.setdefault((value, scheme), set()).add(meaning.casefold())
    own = {row["value"] for row in rows("codes.csv")}
    for term in _table().values():
        if term.type.value not in own:
            assert term.type.meaning.casefold() in every[term.type.value, term.type.scheme], term.type
    for category in CATEGORIES.values():
        assert category.meaning.casefold() in every[category.value, category.scheme]


def test_no_code_of_ours_is_another_thing_in_dicom() -> None:
    """A mapping on the web has the psoas under the code of a lymph node; PS3.16 says what the code is."""
    every, codes = _named_by_pydicom(), rows("codes.csv")
    page = Path(__file__).parents[2] / "docs/dicom-conformance.md"
    assert f"| {len(codes)} SNOMED CT codes that are missing from these" in page.read_text(encoding="utf-8")
    for row in codes:
        assert row["source"] in ("TotalSegmentator", "SlicerTotalSegmentator", "mCODE", "PS3.16"), row
        meanings = every.get(row["value"], set())
        assert not meanings or any(_words(row["meaning"]) <= _words(meaning) for meaning in meanings), (row, meanings)
        assert meanings or row["source"] != "PS3.16", row


_DIHEDRAL = ["0123456789", "1234067895", "2340178956", "3401289567", "4012395678"]
_DIHEDRAL += ["5987604321", "6598710432", "7659821043", "8765932104", "9876543210"]
_PERMUTED = ["0123456789", "1576283094", "5803796142", "8916043527", "9453126870"]
_PERMUTED += ["4286573901", "2793806415", "7046913258"]


def test_each_code_of_snomed_ct_has_its_check_digit() -> None:
    """SNOMED CT Technical Implementation Guide, Verhoeff's check: a number made up passes one time in ten."""
    for term in _table().values():
        if term.type.scheme == "SCT":
            check = 0
            for place, digit in enumerate(reversed(term.type.value)):
                check = int(_DIHEDRAL[check][int(_PERMUTED[place % 8][int(digit)])])
            assert check == 0, term.type


def test_each_synonym_stands_for_something_known() -> None:
    for row in rows("synonyms.csv"):
        assert key_of(spelled(row["meaning"])) in _table(), row
        assert not term_of(row["word"]).private, row


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


def test_a_rule_may_say_the_codes(tmp_path: Path) -> None:
    """By other words, or code by code; they are in SEG and SR, and decide the UIDs."""
    kidney = {"value": "64033007", "meaning": "Kidney"}
    cortex = {"value": "50403003", "scheme": "SCT", "meaning": "Renal cortex"}
    settings = [
        {"text": "the bean on the left", "codes": "left kidney"},
        {"text": "rind", "codes": {"type": cortex, "laterality": "right", "region": kidney}},
        {
            "text": "spot",
            "codes": {"category": "abnormal", "type": {"value": "A1", "scheme": "99SITE", "meaning": "Spot"}},
        },
        {"text": "liver"},
    ]
    prompts = [resolve(PromptSettings.model_validate(each)) for each in settings]
    volume, plan = made.volume(tmp_path / "s"), made.plan([], prompts=prompts)
    found = made.found(plan, made.masks(volume.grid.shape, 4))
    seg = encode_seg(OutputContext(plan, volume, found, directory=tmp_path))
    assert seg is not None
    assert made.dciodvfy(seg.path) == []
    kinds = [item.SegmentedPropertyTypeCodeSequence[0] for item in pydicom.dcmread(seg.path).SegmentSequence]
    assert [(kind.CodeValue, kind.CodingSchemeDesignator) for kind in kinds] == [
        (KIDNEY, "SCT"),
        ("50403003", "SCT"),
        ("A1", "99SITE"),
        (LIVER, "SCT"),
    ]
    assert [term_for(prompt).laterality for prompt in prompts] == [SIDES["left"], SIDES["right"], None, None]
    region = term_for(prompts[1]).region
    assert region is not None
    assert region.value == KIDNEY
    plain = [replace(prompt, codes="") for prompt in prompts]
    assert made.plan([], prompts=plain).key != plan.key
    with pytest.raises(ValueError, match="at most 64"):
        PromptSettings.model_validate({"text": "x", "codes": {"type": {"value": "1", "meaning": "x" * 65}}})


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


@pytest.mark.parametrize(
    "prompt",
    [
        *("left liver", "right heart", "left brain", "left thyroid", "right diaphragm", "left L3"),  # a part of one
        *("left middle lobe", "left lung right upper lobe"),  # the one is not there, the other is of two lungs
        *("left of the liver", "right of the spine", "tumor left of the aorta"),  # beside it
        *("ventricle", "ventricles", "leg", "left leg"),  # of what; of an animal, all four
        *("liver without tumor", "no lesion", "tumor and kidney", "caudate lobe", "body of pancreas"),
        *("muscle mass", "fat mass"),  # how much, not a tumour
    ],
)
def test_a_wrong_code_is_worse_than_none(prompt: str) -> None:
    assert term_of(prompt).private


@pytest.mark.parametrize(
    ("prompt", "value", "side"),
    [
        ("left ventricle", "87878005", None),
        ("left lateral ventricle", "66720007", "Left"),
        ("right middle lobe", "72481006", None),
        ("right and left kidneys", "64033007", "Right and left"),
        ("left/right kidney", "64033007", "Right and left"),
        ("lower leg", "30021000", None),
        ("teeth", "38199008", None),
        ("spinal canal", "61853006", None),
        ("brachiocephalic trunk", "12691009", None),
        ("airways", "89187006", None),
        ("pituitary gland", "56329008", None),
        ("atlas", "14806007", None),
        ("aortic thrombus", "396339007", None),
        ("blood clot", "75753009", None),
        ("left liver lesion", "52988006", "Left"),
    ],
)
def test_what_is_known_by_more_names(prompt: str, value: str, side: str | None) -> None:
    term = term_of(prompt)
    assert (term.type.value, term.laterality.meaning if term.laterality else None) == (value, side)


@pytest.mark.parametrize("prompt", ["hydronephrosis", "splenomegaly", "appendicitis", "bronchiectasis", "glioblastoma"])
def test_what_is_wrong_with_somebody_is_no_anatomy(prompt: str) -> None:
    assert term_of(prompt).category.meaning == "Morphologically Abnormal Structure"
    assert term_of("aponeurosis").category.meaning == "Anatomical Structure"


def test_each_organ_with_one_side_is_known() -> None:
    """So that a word of the list that is misspelt does not go unnoticed."""
    for name in words("unpaired"):
        assert not term_of(name).private, name
        assert term_of(name).type.meaning.casefold() in words("unpaired"), name

"""What a radiologist reads in a viewer's list: rule, kind and outcome in 64 characters; a number for each kind."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from tests.encode import made
from voxtell_dicom.encode.common import words
from voxtell_dicom.encode.common.provenance import maker_of
from voxtell_dicom.encode.report.sr import rounded
from voxtell_dicom.model import PlanOptions
from voxtell_dicom.terms.colors import LEAST_LIGHTNESS, cielab, colors_of
from voxtell_dicom.terms.terminology import Code

ML, MM, HU = Code("mL", "UCUM", "milliliter"), Code("mm", "UCUM", "millimeter"), Code("[hnsf'U]", "UCUM", "HU")


def test_descriptions_and_numbers_tell_the_kinds_apart() -> None:
    plan = made.plan(["liver", "spleen"])
    said = {kind: words.description(plan, maker_of(plan), kind, words.found_of(2, 2)) for kind in words.KINDS}
    assert said["seg"].startswith("AI RESEARCH abdomen SEG [2 of 2 structures]")
    assert len(set(said.values())) == len(said) - 1  # a receipt has one word in either form
    numbers = [words.series_number(4, plan, 1000, kind) for kind in words.KINDS]
    assert numbers == list(range(4010, 4019))
    assert words.series_number(4, replace(plan, rule_index=2), 1000, "sr") == 4023
    assert words.series_number(2**31 - 1, replace(plan, rule_index=9999), 10000, "receipt") < 2**31


@pytest.mark.parametrize("kind", words.KINDS)
@pytest.mark.parametrize("version", [1, 12])
@pytest.mark.parametrize("part", ["", "left adrenal gland", "x" * 64])
@pytest.mark.parametrize("rule", ["CT", "abdomen and pelvis with contrast", "a b " * 16, "x" * 64])
def test_kind_and_count_are_never_cut(rule: str, part: str, version: int, kind: str) -> None:
    plan = replace(made.plan(["liver"]), rule=rule, options=PlanOptions(version=version))
    for engine in (None, "threshold"):
        maker = maker_of(plan, engine)
        said = words.description(plan, maker, kind, words.found_of(11, 12), True, part if engine is None else "")
        assert len(said) <= 64, said
        assert f" {words.KINDS[kind]} [11 of 12" in said
        assert " [!]" in said
        assert ("v12" in said) == (version == 12)
        assert said.endswith("TEST - NOT FOR PATIENTS") == maker.test


def test_a_long_name_of_a_rule_is_cut_between_words() -> None:
    plan = replace(made.plan(["liver"]), rule="abdomen and pelvis with contrast medium")
    said = words.description(plan, maker_of(plan, "VoxTell"), "rtstruct", words.found_of(1, 1))
    name = said.removeprefix("AI RESEARCH ").partition(" contours")[0]
    assert name.endswith("...")
    assert plan.rule.startswith(name[:-3] + " ")


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (727.552457, ML, 727.6),
        (0.0123456, ML, 0.01235),
        (12345.6, ML, 12346.0),
        (23.4567, MM, 23.5),
        (-123.456, HU, -123.5),
        (0.0, HU, 0.0),
    ],
)
def test_numbers_of_reports_are_rounded(value: float, unit: Code, shown: float) -> None:
    assert rounded(value, unit) == shown


def test_confidence_in_words() -> None:
    said = [words.confidence(probability, 0.05) for probability in (0.95, 0.8, 0.3)]
    assert [line.split()[1] for line in said] == ["high", "moderate", "low"]
    assert said[0] == "confidence high (mean probability 0.95; 5 % of its voxels uncertain)"
    assert words.confidence(None, None) == ""


def test_every_colour_shows_on_black_and_right_differs_from_left() -> None:
    texts = ["left kidney", "right kidney", "left lung", "right lung", "liver", "spleen", "aorta", "liver lesion"]
    texts += [
        f"{side} {organ}" for side in ("left", "right") for organ in ("adrenal gland", "femur", "atrium", "ureter")
    ]
    colors = colors_of(made.plan(texts).prompts)
    assert all(cielab(color)[0] >= LEAST_LIGHTNESS - 1 for color in colors), list(zip(texts, colors, strict=True))
    assert len(set(colors)) == len(colors)
    assert all(one != other for one, other in pairwise(colors))

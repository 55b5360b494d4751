"""Word lists are data with one loader; rules, codes and the self-check read the same ones."""

from __future__ import annotations

import re

import pytest

from voxtell_dicom.terms.findings import finding_word
from voxtell_dicom.terms.sides import side_of
from voxtell_dicom.terms.terminology import ABNORMAL, term_of
from voxtell_dicom.terms.word_lists import alternatives, replacements, rows, words

LISTS = {
    "words.csv": {
        *("paired", "unpaired", "amount", "in_body", "unpaired_body_part", "finding", "filler", "singular_s"),
    },
    "replacements.csv": {"spelling", "plural", "side", "latin_side"},
    "patterns.csv": {"finding", "object", "midline", "limb"},
}


@pytest.mark.parametrize("file", LISTS)
def test_every_list_is_known_and_no_line_is_incomplete(file: str) -> None:
    assert {row["list"] for row in rows(file)} == LISTS[file]
    assert all(all(row.values()) and None not in row for row in rows(file))
    lines = [tuple(row.values()) for row in rows(file)]
    assert len(lines) == len({*lines})


def test_every_pattern_is_one() -> None:
    for row in rows("patterns.csv"):
        re.compile(row["pattern"])
    for load in (words, replacements, alternatives):
        with pytest.raises(KeyError, match="no list 'nonsense'"):
            load("nonsense")


@pytest.mark.parametrize(
    "prompt",
    [
        *("tumeur du foie", "Läsion der Leber", "Nierenzyste", "quiste renal", "frattura costale"),
        *("bile leak", "ureteral occlusion", "pelvic collection", "perihepatic fluid", "free gas", "gastric ulcer"),
        *("edemas of the kidney", "bladder contusions"),
    ],
)
def test_what_is_coded_as_a_finding_is_a_finding_to_the_rules(prompt: str) -> None:
    """0.1: two lists; most of these were coded as findings and ran unmarked, edemas were marked and coded as organs."""
    assert term_of(prompt).category == ABNORMAL
    assert finding_word(prompt)


def test_fluids_of_the_body_are_none() -> None:
    assert not any(map(finding_word, ("cerebrospinal fluid", "amniotic fluid", "nodulus", "non-tumorous liver")))


@pytest.mark.parametrize("prompt", ["KidneyLeft", "LeftKidney", "Kidney_L", "Lt kidney", "kidney (L)"])
def test_a_side_that_is_coded_is_checked(prompt: str) -> None:
    """0.1: the self-check did not see the side of the first two."""
    laterality = term_of(prompt).laterality
    assert laterality is not None
    assert laterality.meaning.casefold() == side_of(prompt) == "left"


def test_a_side_in_latin_is_coded_but_not_judged() -> None:
    """Structures near the midline are known by their English names only."""
    laterality = term_of("kidney dexter").laterality
    assert laterality is not None
    assert (laterality.meaning, side_of("arteria coronaria dextra")) == ("Right", "")

"""Display colours: right in CIELab, the rule's own kept, and no two alike in an object."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
from highdicom.color import CIELabColor
from hypothesis import given
from hypothesis import strategies as st

from voxtell_dicom.model import Prompt
from voxtell_dicom.terms.colors import Rgb, cielab, colors_of, dicom_cielab, din99, rgb_of

BYTES = st.integers(0, 255)


@given(st.tuples(BYTES, BYTES, BYTES))
def test_a_colour_survives_dicom(rgb: tuple[int, int, int]) -> None:
    assert all(abs(a - b) <= 1 for a, b in zip(rgb_of(dicom_cielab(rgb)), rgb, strict=True))


@pytest.mark.parametrize("rgb", [(255, 0, 0), (12, 200, 90), (255, 255, 255), (0, 0, 0)])
def test_as_highdicom_converts_it(rgb: tuple[int, int, int]) -> None:
    theirs = CIELabColor.from_rgb(*rgb).value
    assert all(abs(a - b) < 120 for a, b in zip(dicom_cielab(rgb), theirs, strict=True))  # of 65535


def colors(*texts: str) -> list[Rgb]:
    return colors_of([Prompt(text, text) for text in texts])


def closest(chosen: list[Rgb]) -> float:
    return min(math.dist(din99(a), din99(b)) for a, b in combinations(chosen, 2))


def test_no_two_are_alike() -> None:
    chosen = colors("liver", "Liver", "liver lesion", "kidney tumour", "left kidney", "right kidney")
    assert closest(chosen) >= 8
    assert chosen[0] == (221, 130, 101)


def test_a_hundred_are_told_apart() -> None:
    """In DIN99, where CIELab's stretch of what is saturated is taken back: 4.6 with a walk round the hues."""
    ribs = [f"{side} rib {number}" for side in ("left", "right") for number in range(1, 13)]
    spine = [f"{letter}{number}" for letter, last in (("C", 7), ("T", 12), ("L", 5)) for number in range(1, last + 1)]
    chosen = colors(*ribs, *spine, *(f"structure {number}" for number in range(52)))
    assert len(chosen) == 100
    assert closest(chosen) > 6.5
    assert all(35 <= cielab(color)[0] <= 95 for color in chosen)  # on black, and on white


@pytest.mark.parametrize(
    "words", [("bladder", "urinary bladder", "Vesica urinaria"), ("tumor of the liver", "liver tumour")]
)
def test_a_structure_has_its_colour_in_any_words_and_any_object(words: tuple[str, ...]) -> None:
    assert len({colors(text)[0] for text in words}) == 1
    assert colors("spleen", "aorta", words[0])[2] == colors(words[0])[0]


def test_left_and_right_differ_whichever_comes_first() -> None:
    assert colors("left kidney", "right kidney") == colors("right kidney", "left kidney")[::-1]
    assert colors("lesion in the liver") != colors("liver")


def test_the_rules_own_colour_is_kept() -> None:
    colors = colors_of([Prompt("liver", "liver"), Prompt("spleen", "spleen", color="#dd8265")])
    assert colors[1] == (221, 130, 101)
    assert colors[0] != colors[1]

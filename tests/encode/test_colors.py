"""Display colours: right in CIELab, the rule's own kept, and no two alike in an object."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
from highdicom.color import CIELabColor
from hypothesis import given
from hypothesis import strategies as st

from voxtell_dicom.encode.colors import cielab, colors_of, dicom_cielab, rgb_of
from voxtell_dicom.model import Prompt

BYTES = st.integers(0, 255)


@given(st.tuples(BYTES, BYTES, BYTES))
def test_a_colour_survives_dicom(rgb: tuple[int, int, int]) -> None:
    assert all(abs(a - b) <= 1 for a, b in zip(rgb_of(dicom_cielab(rgb)), rgb, strict=True))


@pytest.mark.parametrize("rgb", [(255, 0, 0), (12, 200, 90), (255, 255, 255), (0, 0, 0)])
def test_as_highdicom_converts_it(rgb: tuple[int, int, int]) -> None:
    theirs = CIELabColor.from_rgb(*rgb).value
    assert all(abs(a - b) < 120 for a, b in zip(dicom_cielab(rgb), theirs, strict=True))  # of 65535


def test_no_two_are_alike() -> None:
    texts = ["liver", "Liver", "liver lesion", "kidney tumour", "left kidney", "right kidney"]
    texts += [f"structure {n}" for n in range(24)]
    colors = colors_of([Prompt(text, text) for text in texts])
    assert min(math.dist(cielab(a), cielab(b)) for a, b in combinations(colors, 2)) > 10
    assert colors[0] == (221, 130, 101)


def test_the_rules_own_colour_is_kept() -> None:
    colors = colors_of([Prompt("liver", "liver"), Prompt("spleen", "spleen", color="#dd8265")])
    assert colors[1] == (221, 130, 101)
    assert colors[0] != colors[1]

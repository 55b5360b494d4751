"""Patterns that users write: Python's meaning, in linear time, or refused with advice."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxtell_dicom.rules.patterns import UnsupportedPattern, compile_pattern

# Series Descriptions as scanners of several vendors and languages write them.
DESCRIPTIONS = (
    "", "CT Abdomen  5.0  B30f", "THORAX 1.0 mm LUNGE", "Schädel nativ 4,0 H31s", "t1_mprage_sag_p2_iso", "T2w_TSE ax",
    "AX T1 FS +C", "ep2d_diff_b50_400_800_ADC", "*tfi2d1_14", "Abdômen axial", "Голова", "頭部 単純", "WB-PET (AC)",
    "Thorax^01_Routine (Adult)", "DIXON_W", "ädem", "x_y z", "3-Plane Loc", "Topogramm 0.6 T20f", "a\tb", "²³", "é",
)  # fmt: skip
PATTERNS = (
    r"^\w+$", r"\w+\s\w+", r"\bT1\b", r"\b[a-z]+\b", r"\Bädel", r"(?i)abd|liver", r"(?i)t1.*(mprage|bravo|space)",
    r"(?i)^(b[rl]?[67]|lung|bone|fc5)", r"^[^\W\d_]+$", r"[\s\S]+x", r"\d+([.,]\d+)?\s*mm", r"^\S+\b", r"[^a-z]$",
    r"\W", r"(?i)[^t]1", r"a{,2}b", r"\x41|\u00e4", r"\(.*\)", r"^$", r"\b$", r"^\b", r"(?:\bT|\bx)\w", r"(?P<b>b\d+)",
    r"\D\b", r"(?i:thorax)|LUNGE", r"[]x]", r"[\w-]+_", r"\.", r"\+C", r"\b\b\w", r"^\B", r".\b.", r"(?m)^T",
    r"(?s)A.B",
)  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_means_what_python_means(pattern: str) -> None:
    compiled = compile_pattern(pattern)
    for text in DESCRIPTIONS:
        assert compiled.found_in(text) == (re.search(pattern, text) is not None), text


@given(st.text(alphabet="aÄß1_ -²я\u2003", max_size=12))
def test_word_boundaries_in_any_text(text: str) -> None:
    for pattern in (r"\b", r"\B", r"\b\w\w\b", r"\B.\B", r"^\w+\b\W*$", r"\s\b", r"[^\w\s]\B"):
        assert compile_pattern(pattern).found_in(text) == (re.search(pattern, text) is not None), pattern


@pytest.mark.parametrize("pattern", [r"^(\w+\s?)*$", r"(a+)+$", r"(.*a){20}$", r"^(\d+)*\b$", r"(x|xx)+y"])
def test_hostile_patterns_end(pattern: str) -> None:
    compiled = compile_pattern(pattern)
    before = time.process_time()
    for text in ("a" * 31 + "!", "Thorax nativ 1.0 mm weich kurz !", "x" * 5000):
        compiled.found_in(text)
    assert time.process_time() - before < 5  # `re` takes years


@pytest.mark.parametrize(
    ("pattern", "advice"),
    [
        (r"(?!x)a", "not_matches"),
        (r"(?=x)a", "look-ahead"),
        (r"(?<=x)a", "not_matches"),
        (r"(?<!x)a", "not_matches"),
        (r"(a)\1", "back-reference"),
        (r"(?P<n>a)(?P=n)", "back-reference"),
        (r"a\Z", r"write '\$'"),
        (r"(?x) a", r"\(\?x\)"),
        (r"a{1001}", "1000"),
        (r"(?>a)b", "atomic"),
        (r"a++", "possessive"),
        (r"(a)?(?(1)b|c)", "conditional"),
        (r"a(?#c)", "comment"),
        ("(", "not a regular expression"),
    ],
)
def test_what_is_refused_says_what_to_write(pattern: str, advice: str) -> None:
    with pytest.raises(UnsupportedPattern, match=advice):
        compile_pattern(pattern)


def test_nothing_is_written_to_the_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnsupportedPattern):
        compile_pattern("((a{100}){100}){100}")
    assert capfd.readouterr().err == ""

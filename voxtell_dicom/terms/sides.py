"""The sides of the body in words, and whether a prompt tells on which side of the midline its structure lies.

A wrong side would hold a result that is right. So `side_of` is "" for what lies at the midline or across it (heart and
great vessels, lobes of the liver, airways, parts of vertebrae), for what moves or turns over it (ovaries, bowel, hands
and feet, a transplant, the nose), and for "left" and "right" that mean no side ("left after surgery"): `patterns.csv`.
"""

from __future__ import annotations

import re

from voxtell_dicom.terms.word_lists import alternatives, replacements, whole_words

_MIDLINE = whole_words(*alternatives("midline"))
_LIMB = whole_words(*alternatives("limb"))
_LETTERS = {"l": "left", "r": "right"}  # "L kidney", "Parotid_L"; not "L 5"


def split_capitals(words: str) -> str:
    """Return words with a blank before each capital that begins a new one: "SpinalCord", "KidneyLeft"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", words)


def with_sides(words: list[str], *, latin: bool = True) -> list[str]:
    """Return words in small letters with their side in full: "rt", "dexter" and, first or last, "r" are "right".

    latin: also sides in Latin.
    """
    sides = {**replacements("side"), **(replacements("latin_side") if latin else {})}
    found = [sides.get(word, word) for word in words]
    if len(found) > 1:
        for at, beside in ((0, 1), (-1, -2)):
            if not found[beside].isdigit():
                found[at] = _LETTERS.get(found[at], found[at])
    return found


def plain(words: str) -> str:
    """Return words in small letters with single blanks, "kidney_l" and "Lt kidney" with their side in full.

    Not with sides in Latin: what lies near the midline is known by its English name only.
    """
    return " ".join(with_sides(re.findall(r"[^\W_]+", split_capitals(words).casefold()), latin=False))


def side_of(words: str) -> str:
    """Return "left" or "right" where a prompt tells on which side of the midline the structure lies, else ""."""
    text = plain(words)
    sides = {"left", "right"} & {*text.split()}
    return sides.pop() if len(sides) == 1 and not _MIDLINE.search(text) else ""


def of_a_limb(words: str) -> bool:
    """Return True for a part of a limb: a picture of one limb has a middle that is not the body's."""
    return bool(_LIMB.search(plain(words)))

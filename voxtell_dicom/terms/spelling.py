"""Words of a prompt in one spelling: American, singular, without fillers; sides, vertebrae and ribs by one name."""

from __future__ import annotations

import re
import unicodedata

from voxtell_dicom.terms.sides import split_capitals, with_sides
from voxtell_dicom.terms.word_lists import replacements, words

_SPELLINGS, _PLURALS = replacements("spelling"), replacements("plural")
_SINGULAR_S, _FILLERS = words("singular_s"), words("filler")
SIDES = {"left": "left", "right": "right", "bilateral": "both", "both": "both"}
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
ORDINALS = tuple(_ORDINALS.split())
_NUMBER = {name: number for number, name in enumerate(ORDINALS, 1)} | {
    f"{number}{ending}": number
    for number in range(1, 13)
    for ending in ("st" if number == 1 else "nd" if number == 2 else "rd" if number == 3 else "th", "")
}
_SPINE = {"cervical": ("c", 7), "thoracic": ("t", 12), "lumbar": ("l", 5), "sacral": ("s", 5)}
_LEVEL = r"c[1-7]|t(?:[1-9]|1[0-2])|l[1-5]"
_ROMAN = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii")
_SEGMENT = {name: roman for number, roman in enumerate(_ROMAN, 1) for name in (str(number), roman)}


def spelled(prompt: str, *, plurals: bool = False) -> str:
    """Return the words of a prompt in small letters and American spelling, singular unless `plurals`; sides in full."""
    words = [_SPELLINGS.get(word, word) for word in _words(prompt)]
    if not plurals:
        words = [_singular(word) for word in words]
    return " ".join(_sided([_SPELLINGS.get(word, word) for word in words]))


def key_of(text: str) -> str:
    """Return spelled words without fillers; "third lumbar vertebra" and "l3" alike, "5th rib" and "rib 5"."""
    words = [word for word in text.split() if word not in _FILLERS]
    return " ".join(_segment(_disc(_rib(_vertebra(words)))))


def without_order(key: str) -> str:
    """Return the words of a key in the order of the alphabet, marked as such."""
    return "~" + " ".join(sorted(key.split()))


def side_and_rest(text: str) -> tuple[str, str]:
    """Return left, right, both or "", and the other words; all where sides contradict, or mean beside something."""
    if re.search(r"\b(left|right) (of|to|from)\b", text):
        return "", text
    halves = [side_and_rest(half) for half in text.split(" and ")] if text.count(" and ") == 1 else []
    if {side for side, _ in halves} == {"left", "right"} and halves[0][1] == halves[1][1]:
        return "both", halves[0][1]
    words = text.split()
    found = {SIDES[word] for word in words if word in SIDES}
    rest = [word for word in words if word not in SIDES]
    if found == {"left", "right"} and re.search(r"\b(left (and )?right|right (and )?left)\b", text):
        return "both", " ".join(word for word in rest if word != "and")
    return (next(iter(found)), " ".join(rest)) if len(found) == 1 else ("", text)


def _words(prompt: str) -> list[str]:
    """Letters of any script are words: what is not understood must not fall out.

    So is a dash between blanks, for which a comma passes, too, and "and" for a plus, a slash or a new line.
    """
    text = unicodedata.normalize("NFKC", prompt).replace("\u2019", "'").replace("\u2013", "-").replace("\u2212", "-")
    text = split_capitals(text).casefold()
    text = re.sub(r"(?<=\d)/(?=[a-z]?\d)", " ", text)  # L5/S1
    text = re.sub(r"[+&/;|\n\r]", " and ", text.strip(" ,;|\n\r")).replace(",", " - ")
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*|(?<=\s)-(?=\s)|[<>=~]", text)


def _sided(found: list[str]) -> list[str]:
    words = with_sides(found)
    last = len(words) - 1
    return [
        word
        for at, word in enumerate(words)
        if not (at and words[at - 1] in SIDES and (word == "sided" or (word == "side" and at == last)))
    ]


def _singular(word: str) -> str:
    if word in _PLURALS or word in _SINGULAR_S or len(word) < 4 or "'" in word:
        return _PLURALS.get(word, word)
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("ss", "us", "is", "as")) and not word.endswith("omas"):
        return word
    return word.removesuffix("s")


def _levels(words: list[str]) -> list[str]:
    """ "Th12" and "D12" are T12 (D1 to D4 may be parts of the duodenum), "L 5" is L5."""
    if len(words) > 1 and words[0] in ("c", "t", "l") and words[1].isdigit():
        words = [words[0] + words[1], *words[2:]]
    return [re.sub(r"^(th(?=\d)|d(?=[5-9]$|1[0-2]$))", "t", word) for word in words]


def _vertebra(words: list[str]) -> list[str]:
    words = _levels(words)
    for at, word in enumerate(words):
        letter, most = _SPINE.get(word, ("", 0))
        if letter and at and _NUMBER.get(words[at - 1], 99) <= most and words[at + 1 : at + 2] == ["vertebra"]:
            words = [*words[: at - 1], f"{letter}{_NUMBER[words[at - 1]]}", *words[at + 1 :]]
            break
    named = {"vertebra", "vertebral"} & {*words}
    levels = _LEVEL + "|s[1-5]" if named else _LEVEL  # S1 alone may be a segment of the liver or of the lung
    level = next((word for word in words if re.fullmatch(levels, word)), "")
    others = [word for word in words if word not in (level, "vertebra", "vertebral")]
    if level and not others:
        return [level, "vertebra"]
    if others == ["body"] and named:
        return ["vertebral", "body", level] if level else ["vertebral", "body"]
    return words


def _disc(words: list[str]) -> list[str]:
    """ "intervertebral disc L4/5", "L4-L5 disc": the two levels first."""
    around = [word for word in words if word not in ("disc", "intervertebral")]
    if "disc" not in words or len(around) != 2 or not re.fullmatch(_LEVEL, around[0]):
        return words
    below = around[0][0] + around[1] if around[1].isdigit() else around[1]
    return [around[0], below, "disc"]


def _segment(words: list[str]) -> list[str]:
    """ "liver segment 8", "segment VIII of the liver", "Couinaud segment 8"; a part of one ("4a") is none of these."""
    number = [word for word in words if word in _SEGMENT]
    rest = {word for word in words if word not in number}
    if len(number) == 1 and "segment" in rest and {"segment"} < rest <= {"segment", "liver", "hepatic", "couinaud"}:
        return ["couinaud", "hepatic", "segment", _SEGMENT[number[0]]]
    return words


def _rib(words: list[str]) -> list[str]:
    if len(words) == 2 and "rib" in words:
        other = words[1 - words.index("rib")]
        if other in _NUMBER:
            return [ORDINALS[_NUMBER[other] - 1], "rib"]
    return words

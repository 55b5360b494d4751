"""Words of a prompt in one spelling: American, singular, without fillers; sides, vertebrae and ribs by one name."""

from __future__ import annotations

import re

SPELLINGS = {
    "tumour": "tumor",
    "oedema": "edema",
    "haemorrhage": "hemorrhage",
    "haematoma": "hematoma",
    "haemangioma": "hemangioma",
    "ischaemia": "ischemia",
    "bleeding": "hemorrhage",
    "bleed": "hemorrhage",
    "oesophagus": "esophagus",
    "oesophageal": "esophageal",
    "grey": "gray",
    "coeliac": "celiac",
    "caecum": "cecum",
    "anaemic": "anemic",
    "foetal": "fetal",
    "metastatic": "metastasis",
}
PLURALS = {
    "metastases": "metastasis",
    "masses": "mass",
    "abscesses": "abscess",
    "femora": "femur",
    "testes": "testis",
    "vertebrae": "vertebra",
    "emboli": "embolus",
    "thrombi": "thrombus",
    "calculi": "calculus",
    "prostheses": "prosthesis",
    "hippocampi": "hippocampus",
    "thalami": "thalamus",
    "humeri": "humerus",
    "bronchi": "bronchus",
    "scapulae": "scapula",
    "fibulae": "fibula",
    "tibiae": "tibia",
    "radii": "radius",
    "patellae": "patella",
    "menisci": "meniscus",
    "sinuses": "sinus",
    "uteri": "uterus",
    "pelves": "pelvis",
    "areas": "area",
    "hernias": "hernia",
    "teeth": "tooth",
    "feet": "foot",
}
ALWAYS_S = frozenset(
    ("ascites", "biceps", "triceps", "quadriceps", "lens", "feces", "pons", "meninges", "dens", "series")
)
FILLERS = frozenset(("the", "a", "an", "of", "in", "within", "on", "all", "any", "visible", "entire", "whole"))
SIDES = {"left": "left", "right": "right", "bilateral": "both", "both": "both"}
ORDINALS = (
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
)
_NUMBER = {name: number for number, name in enumerate(ORDINALS, 1)} | {
    f"{number}{ending}": number
    for number in range(1, 13)
    for ending in ("st" if number == 1 else "nd" if number == 2 else "rd" if number == 3 else "th", "")
}
_SPINE = {"cervical": ("c", 7), "thoracic": ("t", 12), "lumbar": ("l", 5)}


def spelled(prompt: str, *, plurals: bool = False) -> str:
    """The words of a prompt in small letters and American spelling, in the singular unless `plurals`."""
    words = [SPELLINGS.get(word, word) for word in re.findall(r"[a-z0-9']+", prompt.casefold())]
    if not plurals:
        words = [_singular(word) for word in words]
    return " ".join(SPELLINGS.get(word, word) for word in words)


def key_of(text: str) -> str:
    """Spelled words without fillers; "third lumbar vertebra", "vertebra l3" and "l3" alike, "5th rib" and "rib 5"."""
    words = [word for word in text.split() if word not in FILLERS]
    return " ".join(_rib(_vertebra(words)))


def without_order(key: str) -> str:
    """The words of a key in the order of the alphabet, marked so that they never pass for words in their own order."""
    return "~" + " ".join(sorted(key.split()))


def side_and_rest(text: str) -> tuple[str, str]:
    """left, right, both or "", and the other words; all words where sides contradict, or say where beside something."""
    words = text.split()
    if re.search(r"\b(left|right) (of|to|from)\b", text):
        return "", text
    found = {SIDES[word] for word in words if word in SIDES}
    rest = [word for word in words if word not in SIDES]
    if found == {"left", "right"} and re.search(r"\b(left (and )?right|right (and )?left)\b", text):
        return "both", " ".join(word for word in rest if word != "and")
    return (next(iter(found)), " ".join(rest)) if len(found) == 1 else ("", text)


def _singular(word: str) -> str:
    if word in PLURALS or word in ALWAYS_S or len(word) < 4:
        return PLURALS.get(word, word)
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("ss", "us", "is", "as")) and not word.endswith("omas"):
        return word
    return word.removesuffix("s")


def _vertebra(words: list[str]) -> list[str]:
    for at, word in enumerate(words):
        letter, most = _SPINE.get(word, ("", 0))
        if letter and at and _NUMBER.get(words[at - 1], 99) <= most and words[at + 1 : at + 2] == ["vertebra"]:
            words = [*words[: at - 1], f"{letter}{_NUMBER[words[at - 1]]}", *words[at + 1 :]]
            break
    level = next((word for word in words if re.fullmatch(r"c[1-7]|t([1-9]|1[0-2])|l[1-5]", word)), "")
    others = [word for word in words if word not in (level, "vertebra", "vertebral")]
    if level and not others:
        return [level, "vertebra"]
    if level and others == ["body"]:
        return ["vertebral", "body", level]
    return words


def _rib(words: list[str]) -> list[str]:
    if len(words) == 2 and "rib" in words:
        other = words[1 - words.index("rib")]
        if other in _NUMBER:
            return [ORDINALS[_NUMBER[other] - 1], "rib"]
    return words

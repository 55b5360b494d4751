"""What a prompt means in codes: category, type, laterality and anatomic region, or a stable private code.

The words come from DICOM's own context groups, as pydicom carries them (PS3.16 CID 7151 Segmentation Property Type,
CID 7159 Lesion Segmentation Type, CID 244 Laterality), and from `synonyms.csv` beside this file. Nothing is guessed:
a prompt that is not wholly understood gets a code of the private scheme 99VOXTELL, made from its text.
"""

from __future__ import annotations

import csv
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.sr._cid_dict import cid_concepts
from pydicom.sr._concepts_dict import concepts

from voxtell_dicom.encode.words import clipped

PRIVATE_SCHEME = "99VOXTELL"
PRIVATE_SCHEME_UID = "2.25.301906725548117263360183205419927720551"


@dataclass(frozen=True)
class Code:
    """A coded concept: value, coding scheme designator, meaning (at most 64 characters)."""

    value: str
    scheme: str
    meaning: str

    def item(self) -> Dataset:
        """As an item of a code sequence."""
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = self.value, self.scheme, self.meaning
        return item


@dataclass(frozen=True)
class Term:
    """What a prompt became. `laterality` belongs to the type, or to the region where there is one."""

    category: Code
    type: Code
    laterality: Code | None = None
    region: Code | None = None

    @property
    def private(self) -> bool:
        """Whether the type is of our own scheme."""
        return self.type.scheme == PRIVATE_SCHEME


STRUCTURE = Code("91723000", "SCT", "Anatomical Structure")
ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
SPATIAL = Code("309825002", "SCT", "Spatial and Relational Concept")
SUBSTANCE = Code("91720002", "SCT", "Body Substance")
LEFT = Code("7771000", "SCT", "Left")
RIGHT = Code("24028007", "SCT", "Right")
BOTH = Code("51440002", "SCT", "Right and left")
PAIRED = frozenset(("lung", "kidney", "adrenal gland", "femur", "breast", "ovary", "testis", "eye"))

_NEOPLASM = Code("108369006", "SCT", "Neoplasm")
_LESION = Code("52988006", "SCT", "Lesion")
ABNORMALITIES = {
    "lesion": _LESION,
    "abnormality": _LESION,
    "tumor": _NEOPLASM,
    "neoplasm": _NEOPLASM,
    "cancer": _NEOPLASM,
    "carcinoma": _NEOPLASM,
    "metastasis": Code("14799000", "SCT", "Neoplasm, Secondary"),
    "mass": Code("4147007", "SCT", "Mass"),
    "nodule": Code("27925004", "SCT", "Nodule"),
    "cyst": Code("367643001", "SCT", "Cyst"),
    "abscess": Code("44132006", "SCT", "Abscess"),
    "edema": Code("79654002", "SCT", "Edema"),
    "hemorrhage": Code("50960005", "SCT", "Hemorrhage"),
    "effusion": Code("41699000", "SCT", "Effusion"),
    "necrosis": Code("6574001", "SCT", "Necrosis"),
}
WHOLE = {"pleural effusion": Term(ABNORMAL, Code("60046008", "SCT", "Pleural effusion"))}
SPELLINGS = {
    "tumour": "tumor",
    "tumours": "tumor",
    "oedema": "edema",
    "haemorrhage": "hemorrhage",
    "bleeding": "hemorrhage",
    "metastases": "metastasis",
    "metastatic": "metastasis",
    "masses": "mass",
    "abnormalities": "abnormality",
    "abscesses": "abscess",
    "kidneys": "kidney",
    "lungs": "lung",
    "femora": "femur",
    "ovaries": "ovary",
    "testes": "testis",
    "arteries": "artery",
    "vertebrae": "vertebra",
}
_FILLERS = frozenset(("the", "a", "an", "of", "in", "within", "on", "all", "any", "visible", "entire", "whole"))


def term_of(prompt: str) -> Term:
    """The codes of a prompt. Always an answer: private and stable where the words are not all known."""
    text = _normal(prompt)
    if text in WHOLE:
        return WHOLE[text]
    if (known := _anatomy(text)) is not None:
        return known if known.laterality or not _plural_of_pair(prompt) else _with(known, BOTH)
    side, rest = _side(text)
    if (known := _anatomy(rest)) is not None:
        return _with(known, side or (BOTH if _plural_of_pair(prompt) else None))
    return _abnormality(rest, side) or _private(prompt, rest)


def private_code(prompt: str) -> Code:
    """The code of a prompt in scheme 99VOXTELL: from its text, case and blanks aside; the same everywhere."""
    text = " ".join(prompt.casefold().split())
    value = "P" + hashlib.sha256(text.encode()).hexdigest()[:12].upper()
    return Code(value, PRIVATE_SCHEME, clipped(prompt) or "unnamed")


def private_scheme_item() -> Dataset:
    """The item of Coding Scheme Identification Sequence (0008,0110) for 99VOXTELL (PS3.3 C.12.1.1.1)."""
    item = Dataset()
    item.CodingSchemeDesignator = PRIVATE_SCHEME
    item.CodingSchemeUID = PRIVATE_SCHEME_UID
    item.CodingSchemeName = "voxtell-dicom text prompts"
    item.CodingSchemeResponsibleOrganization = "voxtell-dicom"
    return item


def write_term(segment: Dataset, term: Term) -> None:
    """Category, type, laterality and region into a Segment Sequence item (PS3.3 C.8.20.2, Table 10-7)."""
    segment.SegmentedPropertyCategoryCodeSequence = Sequence([term.category.item()])
    kind = term.type.item()
    if term.laterality and not term.region:
        kind.SegmentedPropertyTypeModifierCodeSequence = Sequence([term.laterality.item()])
    segment.SegmentedPropertyTypeCodeSequence = Sequence([kind])
    if term.region:
        region = term.region.item()
        if term.laterality:
            region.AnatomicRegionModifierSequence = Sequence([term.laterality.item()])
        segment.AnatomicRegionSequence = Sequence([region])


def _with(term: Term, side: Code | None) -> Term:
    return Term(term.category, term.type, side, term.region)


def _normal(prompt: str) -> str:
    words = re.findall(r"[a-z0-9']+", prompt.casefold())
    return " ".join(SPELLINGS.get(word, word) for word in words)


def _side(text: str) -> tuple[Code | None, str]:
    words = text.split()
    sides = {"left": LEFT, "right": RIGHT, "bilateral": BOTH, "both": BOTH}
    found = {word for word in words if word in sides}
    rest = " ".join(word for word in words if word not in sides and word not in _FILLERS)
    if found == {"left", "right"}:
        return BOTH, rest.replace(" and ", " ").removeprefix("and ")
    return (sides[next(iter(found))], rest) if len(found) == 1 else (None, rest if not found else text)


def _plural_of_pair(prompt: str) -> bool:
    words = prompt.casefold().split()
    return any(word in ("lungs", "kidneys", "femora", "ovaries", "testes", "breasts", "eyes") for word in words) or (
        words[-2:] == ["adrenal", "glands"]
    )


def _anatomy(text: str) -> Term | None:
    table = _table()
    for candidate in (text, _strip(text), _singular(_strip(text))):
        code = table.get(candidate)
        if code is not None:
            category = ABNORMAL if code in ABNORMALITIES.values() else STRUCTURE
            return Term(category, code)
    return None


def _strip(text: str) -> str:
    return " ".join(word for word in text.split() if word not in _FILLERS)


def _singular(text: str) -> str:
    if text.endswith("ies"):
        return text[:-3] + "y"
    return text[:-1] if text.endswith("s") and not text.endswith("ss") else text


def _abnormality(text: str, side: Code | None) -> Term | None:
    """ "liver lesion", "tumour of the left kidney", "cysts": what it is, and where."""
    words = text.split()
    found = [word for word in words if _singular(word) in ABNORMALITIES or word in ABNORMALITIES]
    if len(found) != 1:
        return None
    what = ABNORMALITIES.get(found[0]) or ABNORMALITIES[_singular(found[0])]
    place = " ".join(word for word in words if word != found[0])
    if not place:
        return Term(ABNORMAL, what, side)
    where = _anatomy(place)
    return Term(ABNORMAL, what, side, where.type) if where else None


def _private(prompt: str, rest: str) -> Term:
    if re.fullmatch(r"\s*[<>]=?\s*-?[\d.]+\s*", prompt):
        return Term(SPATIAL, private_code(prompt))
    abnormal = any(_singular(word) in ABNORMALITIES or word in ABNORMALITIES for word in rest.split())
    return Term(ABNORMAL if abnormal else STRUCTURE, private_code(prompt))


@cache
def _table() -> dict[str, Code]:
    """Normalised words → code."""
    table: dict[str, Code] = {}
    for cid in (7159, 7151):
        for scheme, names in cid_concepts[cid].items():
            table_of: Any = concepts[scheme]
            for name in names:
                value, (meaning, _) = next(iter(table_of[name].items()))
                if len(meaning) <= 64:
                    table.setdefault(_normal(meaning), Code(value, scheme, meaning))
    with files(__package__).joinpath("synonyms.csv").open(encoding="utf-8") as file:
        lines = [line for line in file if not line.startswith("#")]
    for row in csv.DictReader(lines):
        target = table.get(_normal(row["meaning"]))
        if target is not None:
            table.setdefault(_normal(row["word"]), target)
    return table

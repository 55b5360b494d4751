"""The meaning of a prompt in codes: category, type, laterality and anatomic region, or a stable private code.

The words come from DICOM's own context groups, as pydicom carries them (PS3.16 CID 7191 to 7197, the segmentation
property types by category; CID 7159 lesions; CID 8134, 7600, 7603 and 4, anatomy; CID 244 laterality), from `codes.csv`
(what these lack, each with its source) and `synonyms.csv` beside this file. Nothing is guessed: a prompt that is not
wholly understood gets a code of the private scheme 99VOXTELL, made from its text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from voxtell_dicom.config import Codes, CodeWords
from voxtell_dicom.dicom.library_internals import context_group
from voxtell_dicom.dicom.text import clipped
from voxtell_dicom.model import Prompt
from voxtell_dicom.terms.findings import finding_word
from voxtell_dicom.terms.spelling import key_of, side_and_rest, spelled, without_order
from voxtell_dicom.terms.word_lists import alternatives, rows, whole_words, words

PRIVATE_SCHEME = "99VOXTELL"
PRIVATE_SCHEME_UID = "2.25.301906725548117263360183205419927720551"


@dataclass(frozen=True)
class Code:
    """A coded concept: value, coding scheme designator, meaning (at most 64 characters)."""

    value: str
    scheme: str
    meaning: str

    def item(self) -> Dataset:
        """Return it as an item of a code sequence."""
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
        """Return True if the type is of our own scheme."""
        return self.type.scheme == PRIVATE_SCHEME


STRUCTURE = Code("91723000", "SCT", "Anatomical Structure")
TISSUE = Code("85756007", "SCT", "Tissue")
ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
OBJECT = Code("260787004", "SCT", "Physical object")
SPATIAL = Code("309825002", "SCT", "Spatial and Relational Concept")
SUBSTANCE = Code("91720002", "SCT", "Body Substance")
_BY_WORD = {
    "structure": STRUCTURE,
    "tissue": TISSUE,
    "abnormal": ABNORMAL,
    "object": OBJECT,
    "substance": SUBSTANCE,
    "concept": SPATIAL,
}
CATEGORIES = {code.meaning: code for code in (STRUCTURE, TISSUE, ABNORMAL, OBJECT, SPATIAL, SUBSTANCE)}
GROUPS = (  # context group, category; the first that knows a word has it
    (7191, TISSUE),
    (7192, STRUCTURE),
    (7193, OBJECT),
    (7194, ABNORMAL),
    (7197, SUBSTANCE),
    (7159, ABNORMAL),
    (7151, STRUCTURE),
    (7603, STRUCTURE),
    (8134, STRUCTURE),
    (7600, STRUCTURE),
    (4, STRUCTURE),
)
SIDES = {
    "left": Code("7771000", "SCT", "Left"),
    "right": Code("24028007", "SCT", "Right"),
    "both": Code("51440002", "SCT", "Right and left"),
}
_AMBIGUOUS = ("ventricle",)  # of the heart, says CID 7192; of the brain, means who asks an MR of the head for it
_OBJECT = whole_words(*alternatives("object"))
# What comes after, or belongs to, a word that takes it away or puts it beside: "liver without tumor", "tumor free"; and
# a mass that is how much there is.
_ASIDE = re.compile(
    r"\b(without|excluding|except|minus|with|including|and|around|near|adjacent|behind|beside|between)\b.*"
    r"|\b\w+ free\b|\b(no|not|non)\b \w+"
    r"|(?:(?<=muscle)|(?<=fat)|(?<=bone)|(?<=body)|(?<=lean)|(?<=ventricle)|(?<=ventricular)|(?<=myocardial)) mass\b"
)


def term_of(prompt: str) -> Term:
    """Return the codes of a prompt. Always an answer: private and stable where the words are not all known."""
    text = spelled(prompt)
    if (known := _anatomy(text)) is not None:
        return replace(known, laterality=_both(prompt, known))
    side, rest = side_and_rest(text)
    if (known := _anatomy(rest)) is not None:
        if side and not _has_two(known):
            return _private(prompt, text)
        return replace(known, laterality=SIDES[side] if side else _both(prompt, known))
    return _within(text, "") or _within(rest, side) or _private(prompt, text)


def term_for(prompt: Prompt) -> Term:
    """Return the codes of a rule's prompt: those that the rule gives it (`codes`), else those of its text."""
    if not prompt.codes.startswith("{"):
        return term_of(prompt.codes or prompt.text)
    given = Codes.model_validate_json(prompt.codes)
    side = SIDES[given.laterality] if given.laterality else None
    return Term(
        _BY_WORD[given.category], _code(given.type), side, _code(given.region) if given.region is not None else None
    )


def _code(given: CodeWords) -> Code:
    return Code(given.value, given.scheme, given.meaning)


def private_code(prompt: str) -> Code:
    """Return the code of a prompt in scheme 99VOXTELL: from its text, case and blanks aside; the same everywhere."""
    text = " ".join(prompt.casefold().split())
    value = "P" + hashlib.sha256(text.encode()).hexdigest()[:12].upper()
    return Code(value, PRIVATE_SCHEME, clipped(prompt) or "unnamed")


def private_scheme_item() -> Dataset:
    """Return the item of Coding Scheme Identification Sequence (0008,0110) for 99VOXTELL (PS3.3 C.12.1.1.1)."""
    item = Dataset()
    item.CodingSchemeDesignator = PRIVATE_SCHEME
    item.CodingSchemeUID = PRIVATE_SCHEME_UID
    item.CodingSchemeName = "voxtell-dicom text prompts"
    item.CodingSchemeResponsibleOrganization = "voxtell-dicom"
    return item


def write_term(segment: Dataset, term: Term) -> None:
    """Write category, type, laterality and region into a Segment Sequence item (PS3.3 C.8.20.2, Table 10-7)."""
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


def _has_two(known: Term) -> bool:
    """Return True if a side may be said of it: neither of an organ that there is one of, nor of what names a side."""
    name = known.type.meaning.casefold()
    return name not in words("unpaired") and not name.endswith((" vertebra", " disc")) and not _named(known.type)


def _named(code: Code) -> set[str]:
    """Return the side that a meaning says itself."""
    return {"left", "right"} & {*code.meaning.casefold().split()}


def _both(prompt: str, known: Term) -> Code | None:
    """Return right and left, where several are named of what everybody has two of."""
    paired = known.type.meaning.casefold() in words("paired")
    return SIDES["both"] if paired and spelled(prompt, plurals=True) != spelled(prompt) else None


def _anatomy(text: str) -> Term | None:
    table, key = _table(), key_of(text)
    return table.get(key) or table.get(without_order(key))


def _within(text: str, side: str) -> Term | None:
    """ "liver lesion", "tumor of kidney", "hip prosthesis", "vertebral body of L3": what it is, and where."""
    if "-" in text.split():  # "liver - tumor": within it, or without it
        return None
    parts = key_of(text).split()
    if parts[:2] == ["vertebral", "body"] or parts[-2:] == ["vertebral", "body"]:
        what, place = _anatomy("vertebral body"), [word for word in parts if word not in ("vertebral", "body")]
    else:
        found = [word for word in parts if _may_be_within(word)]
        if len(found) != 1:
            return None
        what, place = _table()[found[0]], [word for word in parts if word != found[0]]
        if place == ["body"] or (len(place) == 1 and _is_no_vertebra(place[0], what)):  # the body of what
            return None
    laterality = SIDES[side] if side else None
    if what is None or not place:
        return replace(what, laterality=laterality) if what else None
    where = _anatomy(" ".join(place))
    if where is None or where.category not in (STRUCTURE, TISSUE) or (side and _named(where.type) - {side}):
        return None
    if what.type.meaning == "Mass" and where.type.meaning.casefold() in words("amount"):  # how much of it there is
        return None
    return replace(what, laterality=laterality, region=where.type)


def _is_no_vertebra(level: str, what: Term) -> bool:
    """ "T2 lesion", by how it is weighted; "T3 tumor", by its stage; "C6 aneurysm", of the carotid's sixth segment."""
    vascular = what.type.meaning in ("Aneurysm", "Thrombus", "Embolus", "Blood clot")
    return bool(re.fullmatch(r"t[1-4]", level)) or (vascular and bool(re.fullmatch(r"c[1-7]", level)))


def _may_be_within(word: str) -> bool:
    known = _table().get(word)
    if known is None:
        return False
    name = known.type.meaning.casefold()
    return known.category == ABNORMAL or name in words("in_body") or name == "blood vessel"


def _private(prompt: str, text: str) -> Term:
    if re.fullmatch(r"\s*[<>]=?\s*-?[\d.]+\s*", prompt):
        return Term(SPATIAL, private_code(prompt))
    key = key_of(text)
    key = _ASIDE.sub("", key).strip() or key
    table = _table()
    abnormal = finding_word(key) or any(word in table and table[word].category == ABNORMAL for word in key.split())
    category = OBJECT if _OBJECT.search(key) else ABNORMAL if abnormal else STRUCTURE
    return Term(category, private_code(prompt))


@cache
def _table() -> dict[str, Term]:
    """Words as `key_of` gives them, and in the order of the alphabet → what they are."""
    table: dict[str, Term] = {}

    def know(name: str, term: Term) -> None:
        key = key_of(spelled(name))
        table.setdefault(key, term)
        table.setdefault(without_order(key), term)

    for row in rows("finding_codes.csv"):
        know(row["word"], Term(ABNORMAL, Code(row["value"], "SCT", row["meaning"])))
    for cid, category in GROUPS:
        for code in _members(cid):
            know(code.meaning, Term(category, code))
    for row in rows("codes.csv"):
        know(row["meaning"], Term(CATEGORIES[row["category"]], Code(row["value"], "SCT", row["meaning"])))
    for row in rows("synonyms.csv"):
        if (meant := table.get(key_of(spelled(row["meaning"])))) is not None:
            know(row["word"], meant)
    for word in _AMBIGUOUS:
        del table[word], table[without_order(word)]
    return table


def _members(cid: int) -> Iterator[Code]:
    excluded = {row["value"] for row in rows("excluded_codes.csv")}
    for value, scheme, meaning in context_group(cid):
        if len(meaning) <= 64 and value not in excluded:
            yield Code(value, scheme, meaning)

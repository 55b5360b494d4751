"""The parameters of a QIDO-RS request: what must match, what is wanted, how much of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fastapi import HTTPException
from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword
from starlette.datastructures import QueryParams

from voxtell_dicom.dicom.json_model import Json
from voxtell_dicom.web.matching import RANGES, is_range, matches
from voxtell_dicom.web.uids import is_uid

MOST: Final = 10_000  # matches in one answer
_LONGEST: Final = 4096  # characters of a value
_OTHERS: Final = ("limit", "offset", "fuzzymatching", "includefield", "accept", "charset", "emptyvaluematching")


@dataclass(frozen=True)
class Wanted:
    """An attribute that must match. path: tags from the outermost sequence on."""

    path: tuple[str, ...]
    vr: str
    value: str

    @property
    def tag(self) -> str:
        """Return the tag of the attribute, or of the outermost sequence that holds it."""
        return self.path[0]

    def holds(self, dataset: Json) -> bool:
        """Return whether a dataset matches."""
        items = [dataset]
        for tag in self.path[:-1]:
            items = [item for each in items for item in each.get(tag, {}).get("Value", ()) if isinstance(item, dict)]
        return any(matches(item.get(self.path[-1]), self.vr, self.value) for item in items) or (
            not items and self.value in ("", "*")
        )


@dataclass(frozen=True)
class Query:
    """A whole request. include: tags; `everything`: includefield=all."""

    wanted: tuple[Wanted, ...]
    include: frozenset[str]
    everything: bool
    limit: int
    offset: int
    fuzzy: bool

    def uid(self, tag: str) -> str:
        """Return the one UID that an attribute must have, "" where it may have several or any."""
        values = [one.value for one in self.wanted if one.path == (tag,)]
        return values[0] if len(values) == 1 and is_uid(values[0]) else ""


def parse(parameters: QueryParams, path: dict[str, str]) -> Query:
    """Read the parameters of a request. path: the UIDs in its path, by tag. Raises HTTPException (400)."""
    wanted = [Wanted((tag,), "UI", uid) for tag, uid in path.items()]
    include: set[str] = set()
    everything = False
    for name, value in parameters.multi_items():
        if name == "includefield":
            for word in filter(None, value.split(",")):
                everything = everything or word == "all"
                if word != "all":
                    include.add(attribute(word)[0][0])
        elif name not in _OTHERS:
            wanted.append(_wanted(name, value))
    return Query(
        tuple(wanted),
        frozenset(include),
        everything,
        min(_whole(parameters, "limit", MOST), MOST),
        _whole(parameters, "offset", 0),
        parameters.get("fuzzymatching", "false").lower() == "true",
    )


def attribute(name: str) -> tuple[tuple[str, ...], str]:
    """Return the tags that a keyword, a tag, or a sequence of them with dots names, and the VR of the last.

    Raises HTTPException (400) for what is none: a condition that is left out would show more than was asked for.
    """
    tags: list[int] = []
    for word in name.split("."):
        if len(word) == 8 and all(char in "0123456789abcdefABCDEF" for char in word):
            tags.append(int(word, 16))
        elif (tag := tag_for_keyword(word)) is not None:
            tags.append(int(tag))
        else:
            raise HTTPException(400, f"{name[:64]!r} is no keyword or tag of an attribute")
    vr = dictionary_VR(tags[-1]) if dictionary_has_tag(tags[-1]) else "LO"
    return tuple(f"{tag:08X}" for tag in tags), vr.partition(" ")[0]


def _wanted(name: str, value: str) -> Wanted:
    path, vr = attribute(name)
    if len(value) > _LONGEST and vr != "UI":
        raise HTTPException(400, f"the value of {name[:64]} is longer than {_LONGEST} characters")
    if vr in RANGES and not is_range(vr, value):
        raise HTTPException(400, f"the value of {name[:64]} is no {'date' if vr == 'DA' else 'time'} and no range")
    if vr == "UI" and value not in ("", "*") and not all(is_uid(uid) for uid in value.replace("\\", ",").split(",")):
        raise HTTPException(400, f"the value of {name[:64]} is no list of UIDs")
    return Wanted(path, vr, value)


def _whole(parameters: QueryParams, name: str, default: int) -> int:
    text = parameters.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise HTTPException(400, f"{name} must be a whole number")
    return int(text)

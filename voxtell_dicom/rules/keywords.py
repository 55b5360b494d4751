"""What a condition may be about: a DICOM keyword (PS3.6), a fact of the series, or a fact of the volume."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from pydicom.datadict import dictionary_VR, keyword_dict

from voxtell_dicom.config.source import nearest

FACTS = {"instances": "number", "calling_ae": "text", "called_ae": "text"}
VOLUME_FACTS = {
    "name": "text",
    "modality": "text",
    "plane": "text",
    "slices": "number",
    "rows": "number",
    "columns": "number",
    "spacing_mm": "number",  # between slices
    "pixel_mm": "number",  # the larger of the two pixel spacings
    "coverage_mm": "number",  # from the first slice's centre to the last's, plus one spacing
    "contrast": "text",
    "kernel": "text",
    "kind": "text",
    "echo_ms": "number",
    "b_value": "number",
    "temporal": "number",
}
VOLUME_VALUES = {
    "plane": ("axial", "coronal", "sagittal", "oblique"),
    "contrast": ("given", "none"),
    "kernel": ("soft", "sharp", "unknown"),
}

_NUMBERS = {"DS", "IS", "US", "SS", "UL", "SL", "FL", "FD", "UV", "SV"}
_TEXTS = {"AE", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UR", "UT"}


@dataclass(frozen=True)
class Subject:
    """What a condition is about. `kind`: number, text, code (CS), age (AS, in years), uid (UI), or sequence."""

    name: str
    kind: str
    tag: int | None = None  # None for a fact
    values: tuple[str, ...] = ()  # that it can have; () where they are open


class UnknownSubject(ValueError):
    """No such keyword or fact; the message names the nearest right one."""


@cache
def subject(name: str) -> Subject:
    """The subject called `name`: a fact or a DICOM keyword. Raises UnknownSubject."""
    if name in FACTS:
        return Subject(name, FACTS[name])
    tag = keyword_dict.get(name)
    if tag is None:
        hint = nearest(name, [*FACTS, "volume"]) or nearest(name, keyword_dict)
        raise UnknownSubject(f"'{name}' is neither a DICOM keyword nor one of {', '.join(FACTS)}, volume{hint}")
    return Subject(name, _kind(name, tag), tag)


@cache
def volume_subject(name: str) -> Subject:
    """The fact `name` of the volume, called ``volume.NAME``. Raises UnknownSubject."""
    if name not in VOLUME_FACTS:
        hint = nearest(name, VOLUME_FACTS) or f"; known: {', '.join(VOLUME_FACTS)}"
        raise UnknownSubject(f"'{name}' is not a fact of a volume{hint}")
    return Subject(f"volume.{name}", VOLUME_FACTS[name], values=VOLUME_VALUES.get(name, ()))


def _kind(name: str, tag: int) -> str:
    representations = set(dictionary_VR(tag).split(" or "))
    special = {"CS": "code", "AS": "age", "UI": "uid", "SQ": "sequence"}
    if len(representations) == 1 and (only := next(iter(representations))) in special:
        return special[only]
    if representations <= _NUMBERS:
        return "number"
    if representations <= _TEXTS:
        return "text"
    raise UnknownSubject(f"'{name}' holds binary data ({dictionary_VR(tag)}); a condition cannot be about it")

"""Words and numbers that a radiologist sees, within the limits of their value representations (contracts § 5)."""

from __future__ import annotations

import codecs
from collections.abc import Iterable

from anyascii import anyascii
from pydicom.charset import python_encoding
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.valuerep import CUSTOMIZABLE_CHARSET_VR

from voxtell_dicom.dicom.text import LO, ST, clipped
from voxtell_dicom.encode.common.provenance import TEST_MARK, Maker
from voxtell_dicom.model import Plan

SHORTEST_PART = 8
LARGEST_IS = 2**31 - 1
JAPANESE = frozenset(("", "ISO_IR 6", "ISO 2022 IR 6", "ISO 2022 IR 87"))  # ASCII and JIS X 0208


def segment_label(label: str, maker: Maker) -> str:
    """Segment Label (0062,0005): marked where the engine is a test engine; the mark is never cut off."""
    return clipped(label, LO, marked(maker)) or "segment"


def marked(maker: Maker) -> str:
    """The end of what a test engine names."""
    return f" {TEST_MARK}" if maker.test else ""


def distinct(labels: Iterable[str], limit: int, ending: str = "") -> list[str]:
    """Labels as `clipped` has them, numbered where one is there already: planning systems take no two of a name."""
    found: list[str] = []
    for label in labels:
        number, shown = 1, clipped(label, limit, ending) or "segment"
        while shown in found:
            number += 1
            shown = clipped(label, limit, f" ({number}){ending}")
        found.append(shown)
    return found


def segment_description(prompt: str, mean_probability: float | None, uncertain_share: float | None) -> str:
    """Segment Description (0062,0006): the whole prompt on the first line, its confidence on the second.

    A prompt's own line breaks become blanks. Without the second line where the engine gives no probability, or a
    prompt of nearly 1024 characters leaves no room: it stands in report and job all the same.
    """
    text = " ".join(prompt.split())[:ST]
    said = confidence(mean_probability, uncertain_share)
    whole = f"{text}\r\n{said}"
    return whole if said and len(whole) <= ST else text


def confidence(mean_probability: float | None, uncertain_share: float | None) -> str:
    """What an engine says of a segment, "" where it says nothing."""
    if mean_probability is None:
        return ""
    share = "" if uncertain_share is None else f", share of voxels from 0.3 to 0.7: {uncertain_share:.3f}"
    return f"mean foreground probability: {mean_probability:.3f}{share}"


def prompt_of(description: str) -> str:
    """The prompt in a Segment Description of ours."""
    return description.partition("\n")[0].strip()


def series_description(plan: Plan, maker: Maker, found: int, asked: int, warnings: bool, part: str = "") -> str:
    """``AI RESEARCH <rule> [n/m found]``, then v2 for a newer version of the series, [!] and the test mark.

    part: what an object holds of a result that is several; shortened, so that the rest has room.
    """
    return description(plan, maker, f"{found}/{asked} found", warnings, part)


def description(plan: Plan, maker: Maker, outcome: str, warnings: bool = False, part: str = "") -> str:
    """As `series_description`, of any outcome: "refused", "held" …"""
    text, counts, ending = f"AI RESEARCH {plan.rule}", f" [{outcome}]", ""
    if (plan.options.version or 1) > 1:
        ending += f" v{plan.options.version}"
    if warnings:
        ending += " [!]"
    if maker.test:
        ending += f" {TEST_MARK}"
    if part:
        room = LO - len(text) - len(counts) - len(ending) - 1
        counts += f" {clipped(part, max(SHORTEST_PART, room))}"
    return clipped(text, LO, counts + ending)


def series_number(source: object, plan: Plan, base: int) -> int:
    """Source number × base + rule index, kept positive and within IS."""
    try:
        number = abs(int(str(source)))
    except ValueError:
        number = 0
    number %= LARGEST_IS // base
    return max(1, number * base + min(plan.rule_index, base - 1))


def character_set(source: object, texts: Iterable[str], *, ascii_source: bool) -> list[str]:
    """Return the Specific Character Set of a result: the source's, or ISO_IR 192 where that cannot hold `texts`.

    ascii_source: what the result repeats of the source has the same bytes in every set. Where it has not, the set is
    the source's in any case, and `fit` writes our words in ASCII: the patient's text is never encoded anew.
    """
    own = _values(source)
    return ["ISO_IR 192"] if ascii_source and not holds(own, "".join(texts)) else own


def holds(source: object, written: str) -> bool:
    """Return whether text can be written in one character set, or in Japanese with code extensions (PS3.5 H.3)."""
    charset = _values(source)
    if written.isascii():
        return True
    if len(charset) == 1 and charset[0] in python_encoding:
        encoding = python_encoding[charset[0]]
    elif len(charset) > 1 and set(charset) <= JAPANESE:
        encoding = "iso2022_jp"
    else:
        return False
    try:
        codecs.encode(written, encoding)
    except UnicodeEncodeError:
        return False
    return True


def fit(ds: Dataset, source: object) -> None:
    """Write the text of `ds` in ASCII where the character set cannot hold it, in nested items too."""
    for element in list(ds):
        if element.VR == "SQ":
            for item in element.value:
                fit(item, source)
        elif element.VR in CUSTOMIZABLE_CHARSET_VR and not holds(source, str(element.value)):
            values = [anyascii(str(value)) for value in (element.value if element.VM > 1 else [element.value])]
            ds[element.tag] = DataElement(element.tag, element.VR, values if len(values) > 1 else values[0])


def _values(source: object) -> list[str]:
    values = [source] if isinstance(source, str) else list(source or [])  # type: ignore[call-overload]
    return [str(value) for value in values]

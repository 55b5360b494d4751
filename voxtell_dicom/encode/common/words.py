"""Words and numbers that a radiologist sees, within the limits of their value representations (contracts § 5)."""

from __future__ import annotations

import codecs
import math
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
KINDS = {  # of an object → its word in a viewer's list; the place is the last digit of Series Number
    "seg": "SEG",
    "labelmap": "labels",
    "fractional": "probability",
    "sr": "report",
    "rtstruct": "contours",
    "secondary": "pages",
    "overlay": "overlay",
    "receipt": "receipt",
    "receipt_sr": "receipt",
}
_CONFIDENCE = ((0.9, "high"), (0.7, "moderate"), (0.0, "low"))  # least mean probability → word
ASCII = frozenset(("", "ISO_IR 6", "ISO 2022 IR 6"))  # the default repertoire (PS3.3 C.12.1.1.2)
KATAKANA = frozenset(("ISO_IR 13", "ISO 2022 IR 13"))  # two bytes of ASCII are other letters in them
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
    """Return how sure an engine is of a segment, in words and numbers; "" where it says nothing."""
    if mean_probability is None:
        return ""
    word = next(word for least, word in _CONFIDENCE if mean_probability >= least)
    share = "" if uncertain_share is None else f"; {100 * uncertain_share:.0f} % of its voxels uncertain"
    return f"confidence {word} (mean probability {mean_probability:.2f}{share})"


def four_digits(value: float) -> float:
    """Return a value rounded to four digits, whole numbers whole: the voxels of a segment tell no more."""
    magnitude = math.floor(math.log10(abs(value))) if value else 0
    return round(value, max(0, 3 - magnitude))


def named_volume(label: str, millilitres: float) -> str:
    """Return the name of a segment with its volume: ``Liver, 727.6 mL``."""
    return f"{label}, {four_digits(millilitres):g} mL"


def prompt_of(description: str) -> str:
    """The prompt in a Segment Description of ours."""
    return description.partition("\n")[0].strip()


def found_of(found: int, requested: int) -> str:
    """Return the outcome of a result: ``2 of 3 structures``."""
    return f"{found} of {requested} structure{'s' * (requested != 1)}"


def description(plan: Plan, maker: Maker, kind: str, outcome: str, warnings: bool = False, part: str = "") -> str:
    """Return ``AI RESEARCH <rule> <kind> [<outcome>]``, then v2 for a newer version of the series, [!], the test mark.

    kind: of the object, a key of `KINDS`. outcome: `found_of`, or "refused", "held" … The rule's name is cut at a word
    so that the rest fits. part: what an object holds of a result that is several; shortened, so that the rest has room.
    """
    word, tail = KINDS[kind], f" v{plan.options.version}" if (plan.options.version or 1) > 1 else ""
    tail += " [!]" * warnings + marked(maker)
    short = outcome.partition(" structure")[0]
    for head, count in (("AI RESEARCH", outcome), ("AI RESEARCH", short), ("AI", short)):
        fixed = f" {word} [{count}]"
        room = LO - len(head) - len(fixed) - len(tail) - 1  # for the rule and the part
        if room >= SHORTEST_PART * (2 if part else 1):
            break
    if part:
        part = " " + clipped(part, max(SHORTEST_PART, room - len(plan.rule) - 1))
        room -= len(part)
    return f"{head} {_cut_at_word(plan.rule, room)}{fixed}{part}{tail}"


def _cut_at_word(text: str, room: int) -> str:
    clean = clipped(text, max(room, len(text)))
    if len(clean) <= room:
        return clean
    start = clean[: room - 2].rpartition(" ")[0].rstrip() or clean[: room - 3]
    return f"{start}..."


def series_number(source: object, plan: Plan, base: int, kind: str) -> int:
    """Return source number × base + rule index × 10 + place of the kind, kept positive and within IS."""
    try:
        number = abs(int(str(source)))
    except ValueError:
        number = 0
    number %= LARGEST_IS // base
    place = list(KINDS).index(kind)
    return max(1, number * base + min(plan.rule_index * 10, max(0, base - 10)) + place)


def character_set(source: object, texts: Iterable[str], *, ascii_source: bool) -> list[str]:
    """Return the Specific Character Set of a result: the source's, or ISO_IR 192 where that cannot hold `texts`.

    ascii_source: what the result repeats of the source has the same bytes in every set. Where it has not, the set is
    the source's in any case, and `fit` writes our words in ASCII: the patient's text is never encoded anew.
    """
    own = _values(source)
    if holds(own, "".join(texts)) or not ascii_source or KATAKANA & set(own):
        return own
    return ["ISO_IR 192"]


def holds(source: object, written: str) -> bool:
    """Return whether text can be written in one character set, or in Japanese with code extensions (PS3.5 H.3)."""
    charset = _values(source)
    if written.isascii():
        return True
    if set(charset) <= ASCII or "\N{REPLACEMENT CHARACTER}" in written:
        return False
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
            values = [_in_ascii(str(value)) for value in (element.value if element.VM > 1 else [element.value])]
            ds[element.tag] = DataElement(element.tag, element.VR, values if len(values) > 1 else values[0])


def _in_ascii(text: str) -> str:
    return "".join(letter if letter.isascii() else anyascii(letter) or "?" for letter in text)


def _values(source: object) -> list[str]:
    values = [source] if isinstance(source, str) else list(source or [])  # type: ignore[call-overload]
    return [str(value) for value in values]

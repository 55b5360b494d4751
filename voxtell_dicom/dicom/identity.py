"""Identity of instances and series: required UIDs, attributes with one value in a series, the version of a series.

Messages name an attribute and SOP Instance UIDs, never a value of the patient: they go into logs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

from pydicom.datadict import dictionary_description, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.uid import UID

from voxtell_dicom.dicom.attributes import text
from voxtell_dicom.errors import Refusal

REQUIRED_UIDS: Final = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
CODES: Final[Mapping[str, str]] = {  # what must have one value in all instances of a series → code of the refusal
    "PatientID": "mixed-patients",
    "IssuerOfPatientID": "mixed-patients",
    "PatientName": "mixed-patients",
    "StudyInstanceUID": "mixed-studies",
    "SeriesInstanceUID": "mixed-series",
    "AccessionNumber": "mixed-studies",
    "StudyID": "mixed-studies",
    "StudyDate": "mixed-studies",
}


def described(keyword: str) -> str:
    """Return name and tag of an attribute as messages show them: ``Patient ID (0010,0020)``."""
    tag = tag_for_keyword(keyword) or 0
    return f"{dictionary_description(tag)} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def missing_uids(header: Dataset) -> list[str]:
    """Return those of the four identifying UIDs that are absent or empty, as `described`."""
    return [described(keyword) for keyword in REQUIRED_UIDS if not text(header, keyword)]


def require_one_value(
    series_uid: str, keyword: str, values: Iterable[tuple[str, str]], *, advice: str = "", code: str = ""
) -> None:
    """Raise Refusal if instances of a series differ in an attribute.

    values: (SOP Instance UID, value) of each; blanks, nulls and empty components at the ends of a value do not count.
    code: of the refusal, by default that of `CODES`.
    """
    first_of: dict[str, str] = {}
    for uid, value in values:
        first_of.setdefault(value.strip(" ^\0"), uid)
    if len(first_of) > 1:
        one, other, *_ = first_of.values()
        words = f"{len(first_of)} different values of {described(keyword)}, in instances {one} and {other}"
        if keyword.endswith("InstanceUID"):
            words += f": {', '.join(sorted(first_of)[:3])}"
        raise Refusal(code or CODES[keyword], f"series {series_uid}: {words}{advice and '; ' + advice}", series_uid)


def made_uid(*parts: object) -> UID:
    """Return a UID of at most 44 characters made from `parts`: the same parts give the same UID, on every machine."""
    text = "\x1f".join(str(part) for part in ("voxtell-dicom", *parts))
    return UID(f"2.25.{int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], 'big')}")


def series_version(sop_instance_uids: Iterable[str]) -> str:
    """Return the version of a series: SHA-256 over the sorted UIDs of its instances that start work, each once.

    "" where there is none. See `sop_classes.starts_work`, `own_objects.is_own`.
    """
    uids = sorted(set(sop_instance_uids))
    return hashlib.sha256("\n".join(uids).encode()).hexdigest() if uids else ""

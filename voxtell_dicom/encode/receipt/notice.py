"""The receipt of work that gave no result: a series that was refused, a job that failed, is held, or was dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from voxtell_dicom.dicom.source_text import repeated_elements, source_text
from voxtell_dicom.dicom.subject import PATIENT_AND_STUDY
from voxtell_dicom.encode.common import provenance, words
from voxtell_dicom.encode.common.sources import complete_header
from voxtell_dicom.encode.receipt import page as receipt_page
from voxtell_dicom.encode.receipt.receipt import write_receipt
from voxtell_dicom.encode.receipt.statement import ReceiptContent, Statement, now, series_name
from voxtell_dicom.errors import Refusal
from voxtell_dicom.model import Plan, Result

MEANINGS = {
    "refused": "REFUSED: the series cannot be segmented without guessing; nothing was searched in what is named below",
    "failed": "FAILED: there is no result",
    "held": "HELD: not sent before a person has looked at it",
    "dropped": "DROPPED: the rule does not send such a result",
}
WHOSE = ("PatientID", "IssuerOfPatientID", "PatientName", "StudyInstanceUID", "SeriesInstanceUID")


@dataclass(frozen=True)
class Notice:
    """What became of work (a key of MEANINGS), why, and what is said of each prompt (label, words).

    `paths`: the files of the series that it is about.
    """

    outcome: str
    reasons: tuple[str, ...]
    prompts: tuple[tuple[str, str], ...]
    study_uid: str
    series_uid: str
    paths: tuple[Path, ...]


def encode_notice(
    plan: Plan,
    notice: Notice,
    *,
    directory: Path,
    series_number_base: int = 1000,
    engine: str | None = None,
    form: str = "secondary",
) -> Result:
    """Write the receipt, or give back the one already there. plan: its key must hold all that the receipt says.

    form: a rule's `receipt_as`. Raises Refusal where the files do not agree on whose they are: then nobody's is made.
    """

    def content() -> ReceiptContent:
        found = _headers(notice.paths)
        headers = [each.header for each in found]
        header = _agreed(headers, notice)
        maker = provenance.maker_of(plan, engine)
        said = words.description(plan, maker, receipt_page.KIND, notice.outcome)
        instances = tuple((str(each.SOPClassUID), str(each.SOPInstanceUID)) for each in headers)
        statement = statement_of(plan, maker, notice, header, len(headers))
        return ReceiptContent(
            statement, notice, header, said, instances, source_text(found[-1].repeated), series_number_base
        )

    return write_receipt(plan, content, form=form, directory=directory)


def statement_of(plan: Plan, maker: provenance.Maker, notice: Notice, header: Dataset, images: int) -> Statement:
    """Return what a notice says."""
    return Statement(
        plan.rule,
        series_name(header),
        notice.series_uid,
        f"{images} {header.get('Modality', '')}".rstrip(),
        ("Outcome", MEANINGS[notice.outcome]),
        notice.prompts,
        notice.reasons,
        maker,
        now(),
    )


@dataclass(frozen=True)
class _Readable:
    header: Dataset
    repeated: Dataset


def _headers(paths: Sequence[Path]) -> list[_Readable]:
    """Return what can be read of the files, oldest first; each instance once."""
    headers: dict[str, _Readable] = {}
    for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns):
        try:
            ds = pydicom.dcmread(path, stop_before_pixels=True)
            repeated = repeated_elements(ds)
        except Exception:  # whatever a broken file raises inside the parser; the notice says that it is broken
            continue
        if ds.get("SOPInstanceUID") and ds.get("SOPClassUID"):
            headers[str(ds.SOPInstanceUID)] = _Readable(ds, repeated)
    return list(headers.values())


def _agreed(headers: Sequence[Dataset], notice: Notice) -> Dataset:
    """The newest header, without what the others contradict."""
    for keyword in WHOSE:
        values = {_plain(header, keyword) for header in headers}
        if len(values) != 1:
            what = "no file can be read" if not headers else f"{len(values)} different values of {keyword}"
            raise Refusal("mixed-identity", f"series {notice.series_uid}: {what}: nobody's receipt", notice.series_uid)
    header = headers[-1]
    if str(header.StudyInstanceUID) != notice.study_uid:
        raise Refusal("mixed-studies", f"series {notice.series_uid}: of another study by now", notice.series_uid)
    for keyword in (*PATIENT_AND_STUDY, "BodyPartExamined", "Laterality", "SeriesNumber", "SeriesDescription"):
        if keyword in header and len({_plain(each, keyword) for each in headers}) > 1:
            del header[keyword]
    complete_header(header)
    return header


def _plain(header: Dataset, keyword: str) -> Any:
    """Return a value to compare; "" for one that cannot be read, which `complete_header` removes."""
    try:
        value = header.get(keyword)
    except Exception:  # whatever a broken sequence makes the parser raise
        return ""
    return "" if value is None else str(value).strip(" ^\0")

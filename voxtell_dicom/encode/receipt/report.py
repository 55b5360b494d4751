"""A receipt as Basic Text SR (PS3.3 A.35.1): the same words, as items.

Of the structured reports it is the oldest and the plainest, so the one that most archives and viewers take; a receipt
has nothing that needs more than text and codes. Measurements stand in the report of the result (`sr.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timezone

from highdicom.sr import (
    CodeContentItem,
    CodedConcept,
    ContainerContentItem,
    ContentSequence,
    DateTimeContentItem,
    LanguageOfContentItemAndDescendants,
    ObservationContext,
    TextContentItem,
    UIDRefContentItem,
)
from highdicom.sr.value_types import ContentItem
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import BasicTextSRStorage

from voxtell_dicom.encode.capture.capture import footer
from voxtell_dicom.encode.common import objects as common
from voxtell_dicom.encode.common.clock import zone
from voxtell_dicom.encode.receipt.statement import (
    FOUND,
    LEFT_OUT,
    NO_RESULT,
    NOT_FOUND,
    NOT_SEARCHED,
    ReceiptContent,
    Statement,
)
from voxtell_dicom.encode.report.sr import observer_of
from voxtell_dicom.model import Plan
from voxtell_dicom.terms.terminology import PRIVATE_SCHEME, private_scheme_item

KIND = "receipt_sr"
LANGUAGE = ("en-US", "RFC5646", "English (United States)")
TITLE = ("RECEIPT", PRIVATE_SCHEME, "What an AI segmentation searched")  # not a title of CID 7000: no radiologist's
SUMMARY = ("121111", "DCM", "Summary")
FINDINGS, FINDING = ("121070", "DCM", "Findings"), ("121071", "DCM", "Finding")
COMMENT = ("121106", "DCM", "Comment")
SOURCE = ("121232", "DCM", "Source series for segmentation")
NAME = ("111001", "DCM", "Algorithm Name")
VERSION = ("111003", "DCM", "Algorithm Version")
PARAMETERS = ("111002", "DCM", "Algorithm Parameters")
RULE = ("RULE", PRIVATE_SCHEME, "Rule")
SERIES = ("SERIES", PRIVATE_SCHEME, "Series")
IMAGES = ("IMAGES", PRIVATE_SCHEME, "Images")
OUTCOME = ("OUTCOME", PRIVATE_SCHEME, "Outcome")
PROBLEM = ("PROBLEM", PRIVATE_SCHEME, "Problem")
MADE_OF = ("MADE_OF", PRIVATE_SCHEME, "What was searched, and by what")
WRITTEN = ("WRITTEN", PRIVATE_SCHEME, "Time of this receipt")
OF_PROMPT = {  # not codes of absence (SCT): a program did not find it, which is not that it is not there
    NOT_FOUND: ("NOT_FOUND", PRIVATE_SCHEME, "Not found"),
    FOUND: ("FOUND", PRIVATE_SCHEME, "Found"),
    LEFT_OUT: ("LEFT_OUT", PRIVATE_SCHEME, "Left out"),
    NOT_SEARCHED: ("NOT_SEARCHED", PRIVATE_SCHEME, "Not searched"),
    NO_RESULT: ("NO_RESULT", PRIVATE_SCHEME, "No result"),
}
_Code = tuple[str, str, str]


def receipt_report(plan: Plan, content: ReceiptContent) -> Dataset:
    """The statement as a report: UNVERIFIED, COMPLETE, PRELIMINARY, as the report of measurements is."""
    statement = content.statement
    ds = Dataset()
    common.identify(ds, content.identity(plan, KIND))
    ds.SOPClassUID, ds.Modality = BasicTextSRStorage, "SR"
    ds.ReferencedPerformedProcedureStepSequence = Items()  # type 2
    ds.PerformedProcedureCodeSequence = Items()  # type 2
    ds.PreliminaryFlag, ds.CompletionFlag, ds.VerificationFlag = "PRELIMINARY", "COMPLETE", "UNVERIFIED"
    ds.CurrentRequestedProcedureEvidenceSequence = Items([_evidence(content)])
    ds.CodingSchemeIdentificationSequence = Items([private_scheme_item()])
    for element in _container(TITLE, _content(statement, zone(content.header)), relationship=None):
        ds[element.tag] = element
    return ds


def _content(statement: Statement, clock: timezone) -> Iterator[ContentItem]:
    """Language and observer (TID 1204, 1001), then the outcome, the prompts, and what they were searched in."""
    yield from LanguageOfContentItemAndDescendants(CodedConcept(*LANGUAGE))
    yield from ObservationContext(observer_device_context=observer_of(statement.maker))
    name, outcome = statement.heading
    said = [_text(OUTCOME, f"{name} {outcome}" if name == "Found" else outcome)]
    said += [_text(PROBLEM, problem) for problem in statement.problems]
    yield _container(SUMMARY, [*said, _text(COMMENT, footer(statement.maker))])
    yield _container(FINDINGS, [_finding(label, became) for label, became in statement.prompts])
    yield _container(MADE_OF, _origin(statement, clock))


def _finding(label: str, became: str) -> ContentItem:
    item = _text(FINDING, f"{label}: {became}")
    code = next(code for word, code in OF_PROMPT.items() if became.startswith(word))
    item.ContentSequence = ContentSequence(
        [CodeContentItem(CodedConcept(*OUTCOME), CodedConcept(*code), "HAS PROPERTIES")]
    )
    return item


def _origin(statement: Statement, clock: timezone) -> list[ContentItem]:
    """clock: of the object's Timezone Offset From UTC. DCMTK 3.6.7 reads no document with a DT of offset +0000."""
    maker, written = statement.maker, statement.written.astimezone(clock).replace(microsecond=0, tzinfo=None)
    return [
        _text(RULE, statement.rule),
        *([_text(SERIES, statement.series)] if statement.series else []),
        UIDRefContentItem(CodedConcept(*SOURCE), statement.series_uid, "CONTAINS"),
        _text(IMAGES, statement.images),
        _text(NAME, maker.name),
        _text(VERSION, maker.version),
        _text(PARAMETERS, maker.identity),
        DateTimeContentItem(CodedConcept(*WRITTEN), written, "CONTAINS"),
    ]


def _text(name: _Code, value: str) -> ContentItem:
    return TextContentItem(CodedConcept(*name), value, "CONTAINS")


def _container(name: _Code, items: Iterable[ContentItem], relationship: str | None = "CONTAINS") -> ContentItem:
    container = ContainerContentItem(CodedConcept(*name), is_content_continuous=False, relationship_type=relationship)
    container.ContentSequence = ContentSequence(list(items), is_root=False)
    return container


def _evidence(content: ReceiptContent) -> Dataset:
    """The source instances (Hierarchical SOP Instance Reference, PS3.3 C.17.2.1)."""
    instances = []
    for sop_class, uid in content.instances:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
        instances.append(item)
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedSOPSequence = content.source.series_uid, Items(instances)
    study = Dataset()
    study.StudyInstanceUID, study.ReferencedSeriesSequence = content.source.study_uid, Items([series])
    return study

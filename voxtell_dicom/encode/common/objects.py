"""Attributes common to all result objects: patient, study, series, equipment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from voxtell_dicom.dicom.source_text import is_ascii
from voxtell_dicom.dicom.subject import copy_subject
from voxtell_dicom.dicom.text import ST
from voxtell_dicom.encode.common import provenance, words
from voxtell_dicom.encode.common.clock import stamp, zone
from voxtell_dicom.model import Found, Plan, Result, Volume


class Source(Protocol):
    """Source of a result: a volume, or a series that made none."""

    @property
    def study_uid(self) -> str: ...
    @property
    def series_uid(self) -> str: ...


@dataclass(frozen=True)
class Identity:
    """Identity of an object of `kind`. header: of a source instance; text: what results repeat of it, undecoded.

    texts: those of the object, in any language. remarks: see `remarks`.
    """

    plan: Plan
    maker: provenance.Maker
    source: Source
    header: Dataset
    text: Dataset
    kind: str
    description: str
    series_number_base: int
    texts: tuple[str, ...] = ()
    ordinal: int = 1
    profile: str = "generic"
    remarks: str = ""


def identify(ds: Dataset, identity: Identity) -> None:
    """Write Patient, General Study, Series, Equipment and SOP Common into a result (not its SOP class, modality)."""
    plan, header, remarks = identity.plan, identity.header, identity.remarks
    texts = [identity.description, plan.rule, remarks, *identity.texts]
    charset = words.character_set(header.get("SpecificCharacterSet"), texts, ascii_source=is_ascii(identity.text))
    if charset:
        ds.SpecificCharacterSet = charset if len(charset) > 1 else charset[0]
    copy_subject(ds, header)
    for keyword in ("BodyPartExamined", "Laterality"):
        if header.get(keyword):
            ds[keyword] = header[keyword]
    of_object = identity.kind, identity.profile
    ds.StudyInstanceUID = identity.source.study_uid
    ds.SeriesInstanceUID = provenance.result_series_uid(plan, identity.source.series_uid, *of_object)
    ds.SOPInstanceUID = provenance.result_uid(plan, *of_object, identity.ordinal)
    ds.SeriesNumber = words.series_number(header.get("SeriesNumber"), plan, identity.series_number_base, identity.kind)
    ds.SeriesDescription = identity.description
    if remarks:
        ds.CommentsOnThePerformedProcedureStep = remarks
    ds.InstanceNumber = identity.ordinal
    now = datetime.now(zone(header))
    stamp(ds, now)
    provenance.write_equipment(ds, identity.maker)
    when = now.strftime("%Y%m%d%H%M%S.%f%z")
    ds.ContributingEquipmentSequence = Items(provenance.contributing_equipment(identity.maker, header, when))


def describe(plan: Plan, maker: provenance.Maker, volume: Volume, found: Sequence[Found], kind: str) -> str:
    """Return the Series Description of a result of the plan."""
    warned = bool(volume.warnings) or bool(plan.options.incomplete or plan.options.warnings)
    count = sum(1 for item in found if item.mask.voxels)
    return words.description(plan, maker, kind, words.found_of(count, len(found)), warned)


def problems_of(plan: Plan, volume: Volume) -> list[str]:
    """Return sentences on problems of a result, and on parts that are missing from it."""
    own = [f"the series is incomplete: {plan.options.incomplete}"] if plan.options.incomplete else []
    return [*volume.warnings, *own, *plan.options.warnings]


def remarks(plan: Plan, volume: Volume, found: Sequence[Found]) -> str:
    """Return the text of Comments: prompts without a segment, then the warnings; "" if there are none.

    For Comments on the Performed Procedure Step (0040,0280), ST, of the series (PS3.3 Table 10-16).
    """
    missing = [item.prompt.label for item in found if not item.mask.voxels and not item.left_out]
    lines = [f"NOT FOUND: {', '.join(missing)}"] if missing else []
    whole = "\r\n".join([*lines, *problems_of(plan, volume)])
    return whole if len(whole) <= ST else whole[: ST - 3] + "..."


def path_of(plan: Plan, kind: str, directory: Path) -> Path:
    """Return where a result is written of which a plan has one."""
    return directory / f"{provenance.result_uid(plan, kind)}.dcm"


def result_of(ds: Dataset, kind: str, path: Path, digest: str) -> Result:
    """Return the Result of an object by its data set alone: without labels of segments."""
    return Result(
        kind=kind,
        sop_instance_uid=str(ds.SOPInstanceUID),
        sop_class_uid=str(ds.SOPClassUID),
        series_uid=str(ds.SeriesInstanceUID),
        study_uid=str(ds.StudyInstanceUID),
        path=path,
        digest=digest,
        labels=(),
    )

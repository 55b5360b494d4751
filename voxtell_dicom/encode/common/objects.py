"""What all result objects but the segmentation's own modules have in common: patient, study, series, equipment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Protocol

import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, ExplicitVRLittleEndian

from voxtell_dicom.encode.common import provenance, words
from voxtell_dicom.encode.common.clock import stamp, zone
from voxtell_dicom.encode.common.part10 import write_once
from voxtell_dicom.encode.common.template import CARRIED, TYPE_2
from voxtell_dicom.files import sha256_of
from voxtell_dicom.model import Found, Plan, Result, Volume

PATIENT_AND_STUDY = (
    *TYPE_2,
    *CARRIED,
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "OtherPatientIDsSequence",
    "PatientSpeciesDescription",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "LongitudinalTemporalInformationModified",
    "StudyDescription",
    "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID",
    "ClinicalTrialSiteName",
    "ClinicalTrialSubjectID",
)


class Source(Protocol):
    """Where a result comes from: a volume, or a series that made none."""

    @property
    def study_uid(self) -> str: ...
    @property
    def series_uid(self) -> str: ...


def identify(
    ds: Dataset,
    plan: Plan,
    maker: provenance.Maker,
    source: Source,
    header: Dataset,
    kind: str,
    description: str,
    *,
    series_number_base: int,
    extra_texts: Sequence[str] = (),
    ordinal: int = 1,
    profile: str = "generic",
    remarks: str = "",
) -> None:
    """Patient, General Study, Series, Equipment and SOP Common of a result of `kind` (not its SOP class, modality).

    `header` is recoded into the character set that the result needs. remarks: see `remarks`.
    """
    charset = words.character_set(header.get("SpecificCharacterSet"), [description, plan.rule, remarks, *extra_texts])
    words.recode(header, charset)
    if charset:
        ds.SpecificCharacterSet = charset if len(charset) > 1 else charset[0]
    for keyword in PATIENT_AND_STUDY:
        if header.get(keyword):
            ds[keyword] = header[keyword]
        elif keyword in TYPE_2:
            setattr(ds, keyword, "")
    for keyword in ("BodyPartExamined", "Laterality"):
        if header.get(keyword):
            ds[keyword] = header[keyword]
    ds.StudyInstanceUID = source.study_uid
    ds.SeriesInstanceUID = provenance.result_series_uid(plan, source.series_uid, kind, profile)
    ds.SOPInstanceUID = provenance.result_uid(plan, kind, profile, ordinal)
    ds.SeriesNumber = words.series_number(header.get("SeriesNumber"), plan, series_number_base)
    ds.SeriesDescription = description
    if remarks:
        ds.CommentsOnThePerformedProcedureStep = remarks
    ds.InstanceNumber = ordinal
    now = datetime.now(zone(header))
    stamp(ds, now)
    provenance.write_equipment(ds, maker)
    when = now.strftime("%Y%m%d%H%M%S.%f%z")
    ds.ContributingEquipmentSequence = Items(provenance.contributing_equipment(maker, header, when))


def describe(plan: Plan, maker: provenance.Maker, volume: Volume, found: Sequence[Found]) -> str:
    """Series Description of any result of the plan."""
    warned = bool(volume.warnings) or bool(plan.options.incomplete or plan.options.warnings)
    count = sum(1 for item in found if item.mask.voxels)
    return words.series_description(plan, maker, count, len(found), warned)


def problems_of(plan: Plan, volume: Volume) -> list[str]:
    """What speaks against a result, or is missing from it, in words."""
    own = [f"the series is incomplete: {plan.options.incomplete}"] if plan.options.incomplete else []
    return [*volume.warnings, *own, *plan.options.warnings]


def remarks(plan: Plan, volume: Volume, found: Sequence[Found]) -> str:
    """What is not in a result, and what speaks against it, as every object says it; "" where there is nothing to say.

    For Comments on the Performed Procedure Step (0040,0280), ST, of the series (PS3.3 Table 10-16).
    """
    missing = [item.prompt.label for item in found if not item.mask.voxels and not item.left_out]
    lines = [f"NOT FOUND: {', '.join(missing)}"] if missing else []
    whole = "\r\n".join([*lines, *problems_of(plan, volume)])
    return whole if len(whole) <= words.ST else whole[: words.ST - 3] + "..."


def path_of(plan: Plan, kind: str, directory: Path, ordinal: int = 1, profile: str = "generic") -> Path:
    """Where a result lies."""
    return directory / f"{provenance.result_uid(plan, kind, profile, ordinal)}.dcm"


def publish(
    ds: Dataset,
    kind: str,
    path: Path,
    found: Sequence[Found],
    volume: Volume,
    *,
    tail: Iterable[bytes] = (),
    transfer_syntax: UID = ExplicitVRLittleEndian,
) -> Result:
    """Write the object once, `tail` (encoded elements whose tags come after all of `ds`) at its end; its Result."""
    return result_of(ds, kind, path, write_once(path, ds, tail, transfer_syntax=transfer_syntax), found, volume)


def already(kind: str, path: Path, found: Sequence[Found], volume: Volume) -> Result | None:
    """The Result of an object that lies in the spool already, None where there is none."""
    if not path.exists():
        return None
    ds = pydicom.dcmread(path, stop_before_pixels=True)
    return result_of(ds, kind, path, sha256_of(path), found, volume)


def result_of(ds: Dataset, kind: str, path: Path, digest: str, found: Sequence[Found], volume: Volume) -> Result:
    """A Result from a dataset and what was found."""
    return telling(written(ds, kind, path, digest), found, volume)


def written(ds: Dataset, kind: str, path: Path, digest: str) -> Result:
    """The Result of an object as it lies in the spool, by its dataset alone: it tells nothing of segments yet."""
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


def telling(result: Result, found: Sequence[Found], volume: Volume) -> Result:
    """The Result with what was found, what was not, and the volume's warnings."""
    return replace(
        result,
        labels=tuple(item.prompt.label for item in found if item.mask.voxels),
        empty=tuple(item.prompt.label for item in found if not item.mask.voxels),
        warnings=volume.warnings,
    )

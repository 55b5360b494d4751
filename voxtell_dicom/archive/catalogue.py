"""Reads for queries and retrieval: series with the attributes that are queried, and instances.

The attributes of a series are written with its first instance of an association, and again when a header is corrected:
those of the newest copy, as in results. Where they are missing (an index made from the store) they are read once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
import structlog
from pydicom.datadict import tag_for_keyword

from voxtell_dicom.archive import index, tables
from voxtell_dicom.archive.headers import Header
from voxtell_dicom.archive.index import Stored
from voxtell_dicom.archive.part10 import read_header
from voxtell_dicom.archive.store import Store
from voxtell_dicom.dicom.json_model import Json, json_of

STUDY_KEYWORDS: Final = (
    "SpecificCharacterSet", "StudyDate", "StudyTime", "AccessionNumber", "IssuerOfAccessionNumberSequence",
    "ReferringPhysicianName", "StudyDescription", "TimezoneOffsetFromUTC", "InstitutionName", "PatientName",
    "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "PatientAge", "StudyInstanceUID", "StudyID",
)  # fmt: skip
SERIES_KEYWORDS: Final = (
    "Modality", "SeriesDescription", "SeriesInstanceUID", "SeriesNumber", "SeriesDate", "SeriesTime",
    "BodyPartExamined", "Laterality", "ProtocolName", "Manufacturer", "ManufacturerModelName", "StationName",
    "OperatorsName", "FrameOfReferenceUID", "PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime",
    "PerformedProcedureStepDescription", "RequestAttributesSequence",
)  # fmt: skip
TAGS: Final = frozenset(int(tag_for_keyword(keyword) or 0) for keyword in (*STUDY_KEYWORDS, *SERIES_KEYWORDS))
_BATCH: Final = 500

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class SeriesEntry:
    """A series with its attributes as DICOM JSON."""

    study_uid: str
    series_uid: str
    attributes: Json


@dataclass(frozen=True)
class SeriesCount:
    """The number of instances of a series, and their SOP classes."""

    instances: int
    sop_classes: tuple[str, ...]


def record(
    connection: sa.Connection, series_uid: str, transfer_syntax: str, header: bytes, *, corrected: bool = False
) -> str:
    """Write the attributes of a series; where they are there, only if a header of it was corrected. Returns them."""
    table = tables.series_attributes
    known = connection.scalar(sa.select(table.c.attributes).where(table.c.series_uid == series_uid))
    if known is not None and not corrected:
        return str(known)
    text = _attributes(transfer_syntax, header)
    if known is not None:
        connection.execute(sa.update(table).where(table.c.series_uid == series_uid).values(attributes=text))
    else:
        index.insert_ignore(connection, table, [{"series_uid": series_uid, "attributes": text}])
    return text


def _attributes(transfer_syntax: str, header: bytes) -> str:
    try:
        dataset = Header(transfer_syntax, header).parse()
    except Exception as error:  # reception walked it; a value that pydicom cannot take costs only the attributes
        log.warning("attributes of a series cannot be read", error=type(error).__name__)
        return "{}"
    return json.dumps(json_of(dataset, only=TAGS), separators=(",", ":"))


class Catalogue:
    """Reads the index for queries and retrieval, from any thread. Raises SQLAlchemyError where it is away."""

    def __init__(self, engine: sa.Engine, objects: Store) -> None:
        self._engine, self._objects = engine, objects

    def series(self, study_uid: str = "", series_uid: str = "") -> list[SeriesEntry]:
        """Return the series that are here, of one study or all, those with the newest instances last."""
        series, known = tables.series, tables.series_attributes
        wanted = sa.select(series.c.study_uid, series.c.series_uid, known.c.attributes).select_from(
            series.outerjoin(known, series.c.series_uid == known.c.series_uid)
        )
        if study_uid:
            wanted = wanted.where(series.c.study_uid == study_uid)
        if series_uid:
            wanted = wanted.where(series.c.series_uid == series_uid)
        with self._engine.connect() as connection:
            rows = connection.execute(wanted.order_by(series.c.last_at, series.c.series_uid)).all()
        found = []
        for row in rows:
            text = self._read(row.series_uid) if row.attributes is None else row.attributes
            if text is not None:
                found.append(SeriesEntry(row.study_uid, row.series_uid, json.loads(text)))
        return found

    def _read(self, series_uid: str) -> str | None:
        """Return the attributes of a series from an object of its own, and record them. None where it has none."""
        instance = tables.instance
        wanted = sa.select(instance.c.object, instance.c.transfer_syntax).where(instance.c.series_uid == series_uid)
        with self._engine.connect() as connection:
            row = connection.execute(wanted.order_by(instance.c.arrived.desc()).limit(1)).first()
        if row is None:
            return None
        try:
            header = read_header(self._objects.path(row.object))
        except (OSError, ValueError) as error:
            log.warning("attributes of a series cannot be read", series_uid=series_uid, error=type(error).__name__)
            return "{}"
        with self._engine.begin() as connection:
            return record(connection, series_uid, row.transfer_syntax, header)

    def counts(self, series_uids: Iterable[str]) -> dict[str, SeriesCount]:
        """Return what is here of series, by Series Instance UID."""
        instance = tables.instance
        columns = instance.c.series_uid, instance.c.sop_class, sa.func.count().label("number")
        uids, found = sorted(set(series_uids)), dict[str, SeriesCount]()
        with self._engine.connect() as connection:
            for start in range(0, len(uids), _BATCH):
                mine = instance.c.series_uid.in_(uids[start : start + _BATCH])
                grouped = sa.select(*columns).where(mine).group_by(instance.c.series_uid, instance.c.sop_class)
                for row in connection.execute(grouped):
                    before = found.get(row.series_uid, SeriesCount(0, ()))
                    classes = (*before.sop_classes, row.sop_class)
                    found[row.series_uid] = SeriesCount(before.instances + row.number, classes)
        return found

    def instances(self, study_uid: str, series_uid: str = "", sop_uid: str = "") -> Sequence[Stored]:
        """Return the instances of a study, a series, or one of them, by series and SOP Instance UID."""
        instance, series = tables.instance, tables.series
        joined = instance.join(series, instance.c.series_uid == series.c.series_uid)
        wanted = sa.select(*index.STORED_COLUMNS).select_from(joined).where(series.c.study_uid == study_uid)
        if series_uid:
            wanted = wanted.where(series.c.series_uid == series_uid)
        if sop_uid:
            wanted = wanted.where(instance.c.sop_uid == sop_uid)
        with self._engine.connect() as connection:
            rows = connection.execute(wanted.order_by(instance.c.series_uid, instance.c.sop_uid)).all()
        return [Stored(**row._mapping) for row in rows]

    def series_of(self, sop_uid: str) -> str:
        """Return the Series Instance UID of an instance, "" where it is not here."""
        with self._engine.connect() as connection:
            found = index.find(connection, sop_uid)
        return found.series_uid if found else ""

    def totals(self) -> tuple[int, int, int]:
        """Return how many series are here, how many of them have instances that were not handed on, and instances."""
        series, instance = tables.series, tables.instance
        pending = sa.func.sum(sa.case((series.c.has_new_instances == sa.true(), 1), else_=0))
        with self._engine.connect() as connection:
            number, receiving = connection.execute(sa.select(sa.func.count(), pending).select_from(series)).one()
            instances = connection.scalar(sa.select(sa.func.count()).select_from(instance))
        return int(number), int(receiving or 0), int(instances or 0)

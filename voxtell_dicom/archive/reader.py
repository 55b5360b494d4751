"""Reading side of the archive: series, their summaries, and the series that are due."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import sqlalchemy as sa
from pydicom.dataset import Dataset

from voxtell_dicom.archive import index, tables
from voxtell_dicom.archive.clock import Clock
from voxtell_dicom.archive.headers import Headers
from voxtell_dicom.archive.store import Store
from voxtell_dicom.archive.summary import Links, SeriesSummary
from voxtell_dicom.dicom.identity import series_version
from voxtell_dicom.dicom.sop_classes import starts_work
from voxtell_dicom.model import Instance, Receiving, Series


class Reader:
    """Reads the index. Every method may be called from any thread, and raises SQLAlchemyError where it is away."""

    def __init__(self, engine: sa.Engine, objects: Store, clock: Clock, also: Collection[str]) -> None:
        self._engine, self.objects, self.now, self._also = engine, objects, clock, frozenset(also)
        self._headers = Headers(objects)

    def series(self, series_uid: str, incomplete: str = "") -> Series | None:
        """Return the newest version of a series: the instances that start work. None where there is none."""
        with self._engine.connect() as connection:
            return self._series(connection, series_uid, incomplete)

    def _series(self, connection: sa.Connection, series_uid: str, incomplete: str) -> Series | None:
        row = connection.execute(sa.select(tables.series).where(tables.series.c.series_uid == series_uid)).first()
        chosen, _ = index.instances(connection, series_uid, self.starts)
        if row is None or not chosen:
            return None
        instances = tuple(
            Instance(
                one.sop_uid,
                one.sop_class,
                series_uid,
                row.study_uid,
                self.objects.path(one.object),
                one.transfer_syntax,
                one.digest,
            )
            for one in chosen
        )
        version = series_version(one.sop_uid for one in chosen)
        return Series(row.study_uid, series_uid, version, instances, row.calling_ae, row.called_ae, incomplete)

    def starts(self, sop_class_uid: str) -> bool:
        """Return whether instances of a class start work."""
        return starts_work(sop_class_uid, self._also)

    def current_version(self, series_uid: str) -> str:
        """Return the version of a series as it is now; "" where nothing of it is here that starts work."""
        with self._engine.connect() as connection:
            return series_version(one.sop_uid for one in index.instances(connection, series_uid, self.starts)[0])

    def held_class(self, sop_instance_uid: str) -> str:
        """Return the SOP class of an instance that lies on disk, "" where we do not hold it."""
        with self._engine.connect() as connection:
            found = index.find(connection, sop_instance_uid)
        return found.sop_class if found and self.objects.exists(found.object) else ""

    def summary(self, series_uid: str) -> SeriesSummary | None:
        """Return the summary of a series; None where it is not here."""
        with self._engine.connect() as connection:
            return self._summary(connection, series_uid)

    def _summary(self, connection: sa.Connection, series_uid: str) -> SeriesSummary | None:
        row = connection.execute(sa.select(tables.series).where(tables.series.c.series_uid == series_uid)).first()
        return index.summarize(connection, row, *index.instances(connection, series_uid, self.starts)) if row else None

    def study(self, study_uid: str) -> list[SeriesSummary]:
        """Return the series of a study, by UID."""
        series = tables.series
        with self._engine.connect() as connection:
            wanted = sa.select(series.c.series_uid).where(series.c.study_uid == study_uid).order_by(series.c.series_uid)
            uids = connection.scalars(wanted).all()
            return [found for uid in uids if (found := self._summary(connection, uid))]

    def summaries(self, limit_at: float = float("inf")) -> Iterator[SeriesSummary]:
        """Return the series with nothing new since `limit_at`, those longest without news first, a few at a time."""
        after, count = (-1.0, ""), 100
        while True:
            with self._engine.connect() as connection:
                some = index.settled_before(connection, min(limit_at, 1e300), after, count)
                found = [self._summary(connection, uid) for _, uid in some]
            yield from (each for each in found if each and each.last_arrived <= limit_at)
            if len(some) < count:
                return
            after = some[-1]

    def receiving(self, limit: int = 1000) -> list[Receiving]:
        """Return the series that are arriving and were not handed on since, the newest first."""
        with self._engine.connect() as connection:
            return index.receiving(connection, limit)

    def headers(self, series: Series) -> Mapping[str, Dataset]:
        """Return the newest headers of a series' instances by SOP Instance UID: the datasets without pixels."""
        with self._engine.connect() as connection:
            return self._headers.of_series(connection, series)

    def due(self) -> list[tuple[str, float, str]]:
        """Return the series to be looked at now, with the time since when, and who sent them."""
        with self._engine.connect() as connection:
            return index.due(connection, self.now())

    def next_due(self) -> float | None:
        """Return when a series is to be looked at next, None where none is."""
        with self._engine.connect() as connection:
            return index.next_due(connection)

    def arrival_state(self, series_uid: str) -> tuple[SeriesSummary | None, Links, int]:
        """Return the summary of a series, how its associations stand, and how many instances could not be stored."""
        with self._engine.connect() as connection:
            links, unstored = index.links(connection, series_uid), index.unstored_count(connection, series_uid)
            return self._summary(connection, series_uid), links, unstored

    def is_handed_on(self, series_uid: str, version: str) -> bool:
        """Return whether this version was handed on, be the series still here or dropped since."""
        with self._engine.connect() as connection:
            return index.is_handed_on(connection, series_uid, version)

    def count(self) -> int:
        """Return the number of instances."""
        with self._engine.connect() as connection:
            return int(connection.scalar(sa.select(sa.func.count()).select_from(tables.instance)) or 0)

"""Base of the job book: the database, the form of stored values, and the versions of series."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from voxtell_dicom.jobs import paths
from voxtell_dicom.jobs.clock import database_now
from voxtell_dicom.jobs.migrations import upgrade
from voxtell_dicom.jobs.tables import job_table, version_table
from voxtell_dicom.model import Series, dump, load


class Store:
    """The database of a node, brought to the newest schema.

    storage: the node's folder, to which stored paths are relative. None: they are stored as they are.
    """

    def __init__(self, engine: sa.Engine, storage: Path | None = None) -> None:
        self._engine = engine
        self._root = storage.absolute() if storage else None
        self._now = database_now(engine.dialect.name)
        upgrade(engine)

    def record_series(self, series: Series, connection: sa.Connection | None = None) -> None:
        """Store a version of a series, once: what is queued and booked refers to it.

        connection: of the transaction that hands the series on; None: a transaction of its own.
        """
        if connection is None:
            with self._engine.begin() as own:
                self.record_series(series, own)
            return
        values = {"series": self._stored(series), "created": self._now}
        key = {"series_uid": series.series_uid, "version": series.version}
        connection.execute(self._insert(version_table).values(**key, **values).on_conflict_do_nothing())

    def series(self, series_uid: str, version: str) -> Series | None:
        """Return a version of a series as it was handed on, None where it is not known."""
        with self._engine.connect() as connection:
            found = stored_series(connection, series_uid, version)
        return load(Series, self._paths(found)) if found else None

    def _lock(self, connection: sa.Connection, job_id: str) -> None:
        """Let nobody else write this job before the transaction ends. On SQLite: nobody write anything."""
        table = job_table.c
        connection.execute(sa.update(job_table).where(table.id == job_id).values(updated=table.updated))

    def _insert(self, table: sa.Table) -> Any:
        dialect: Any = sqlite if self._engine.dialect.name == "sqlite" else postgresql
        return dialect.insert(table)

    def _upsert(
        self,
        connection: sa.Connection,
        table: sa.Table,
        key: Mapping[str, Any],
        values: Mapping[str, Any],
        where: sa.ColumnElement[bool] | None = None,
    ) -> None:
        insert = self._insert(table).values(**key, **values)
        changed = {name: insert.excluded[name] for name in values}
        connection.execute(insert.on_conflict_do_update(index_elements=list(key), set_=changed, where=where))

    def _stored(self, value: Any) -> Any:
        return paths.relative(dump(value), self._root)

    def _paths(self, data: Any) -> Any:
        return paths.absolute(data, self._root)


def stored_series(connection: sa.Connection, series_uid: str, version: str) -> Any:
    table = version_table.c
    query = sa.select(table.series).where(table.series_uid == series_uid, table.version == version)
    return connection.execute(query).scalar()

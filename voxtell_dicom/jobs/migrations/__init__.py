"""Migrations of the database, run by us when a process opens it: under a lock, once, by whoever comes first."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from voxtell_dicom.errors import VoxtellDicomError

HEAD = "0007"  # the newest file in versions/
VERSION_TABLE = "voxtell_schema"
LOCK_KEY = 0x766F7874  # of the advisory lock on PostgreSQL: "voxt"
PATIENCE_S = 600.0  # another process may be converting a large database


class SchemaError(VoxtellDicomError):
    """The database is of a newer version of this package, or somebody else's migration does not end."""

    code = "schema"


def revision(connection: sa.Connection) -> str:
    """Return the revision of a database, "" where it has none (a new one, or one of version 0.1)."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return ""
    return str(connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar() or "")


def upgrade(engine: sa.Engine, target: str = HEAD) -> str:
    """Bring a database to the newest revision. Returns the revision that it had.

    Processes that start at once wait for the first. Raises SchemaError where the database is newer than this package.
    """
    with engine.connect() as connection:
        before = revision(connection)
    if before == target:
        return before
    if before > HEAD:
        raise SchemaError(
            f"the database is of schema {before}, this version of voxtell-dicom knows {HEAD}: "
            "install the version that ran last, or restore the database from before it"
        )
    with _locked(engine) as connection:
        before = revision(connection)
        if before < target:
            _run(connection, target)
    return before


def _run(connection: sa.Connection, target: str) -> None:
    from alembic import command  # 0.3 s that only a migration is worth
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, target)


@contextlib.contextmanager
def _locked(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Yield a connection with a transaction that no other migration runs beside; commit at the end."""
    deadline = time.monotonic() + PATIENCE_S
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            _begin_immediate(connection, deadline)
        else:
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
        yield connection
        connection.commit()


def _begin_immediate(connection: sa.Connection, deadline: float) -> None:
    """Take SQLite's write lock; a transaction begun otherwise would fail as soon as another had written."""
    while True:
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except sa.exc.OperationalError as error:
            if "locked" not in str(error):
                raise
            if time.monotonic() > deadline:
                raise SchemaError("another process does not end its migration of the database") from error
            connection.rollback()
        else:
            return

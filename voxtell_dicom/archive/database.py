"""The node's database: SQLite by default, or PostgreSQL."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from voxtell_dicom.config import Config


def open_database(config: Config) -> sa.Engine:
    """Open (and for SQLite create) the database.

    SQLite runs in WAL mode with synchronous=FULL: what the receiver handed over must survive a power cut.
    """
    url = database_url(config)
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(url, pool_size=5, max_overflow=10, pool_pre_ping=True)
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, connect_args={"timeout": 30, "check_same_thread": False})
    _set_pragmas(engine, "FULL")
    return engine


def open_writer(engine: sa.Engine, *, durable: bool) -> sa.Engine:
    """Open the database of `engine` again, for transactions that see no change of others between their statements.

    On SQLite they take the write lock when they begin; on PostgreSQL they lock the rows that they read. durable: a
    commit waits for the disk. Without it the last commits may be lost in a power cut, but those before a durable one
    are not.
    """
    if engine.dialect.name != "sqlite":
        options = {} if durable else {"options": "-c synchronous_commit=off"}
        return sa.create_engine(engine.url, pool_size=2, max_overflow=8, pool_pre_ping=True, connect_args=options)
    writer = sa.create_engine(engine.url, connect_args={"timeout": 30, "check_same_thread": False})
    _set_pragmas(writer, "FULL" if durable else "NORMAL")

    @sa.event.listens_for(writer, "connect")
    def _no_implicit_begin(connection: Any, _record: Any) -> None:
        connection.isolation_level = None

    @sa.event.listens_for(writer, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.connection.cursor().execute("BEGIN IMMEDIATE")  # past SQLAlchemy: it runs for each instance

    return writer


def database_url(config: Config) -> sa.URL:
    """Return where the database is: `node.database`, or the SQLite file in the storage folder, whatever its name."""
    if config.node.database:
        return sa.make_url(config.node.database.replace("postgresql://", "postgresql+psycopg://", 1))
    return sa.URL.create("sqlite", database=str(config.node.storage / "node.sqlite"))


@contextmanager
def exclusive(engine: sa.Engine, name: str) -> Iterator[bool]:
    """Yield whether this process may do what only one at a time does. On SQLite there is one process."""
    if engine.dialect.name == "sqlite":
        yield True
        return
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
    with engine.connect() as connection:
        mine = bool(connection.scalar(sa.select(sa.func.pg_try_advisory_lock(key))))
        try:
            yield mine
        finally:
            if mine:
                connection.execute(sa.select(sa.func.pg_advisory_unlock(key)))


def _set_pragmas(engine: sa.Engine, synchronous: str) -> None:
    @sa.event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={synchronous}")
        cursor.execute("PRAGMA busy_timeout=30000")
        cursor.close()

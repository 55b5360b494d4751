"""The node's database: SQLite by default, or PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from voxtell_dicom.config import Config


def open_database(config: Config) -> sa.Engine:
    """Open (and for SQLite create) the database.

    SQLite runs in WAL mode with synchronous=FULL: what the receiver handed over must survive a power cut.
    """
    url = sa.make_url(config.node.database_url.replace("postgresql://", "postgresql+psycopg://", 1))
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(url, pool_size=10, max_overflow=10, pool_pre_ping=True)
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, connect_args={"timeout": 30, "check_same_thread": False})

    @sa.event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA busy_timeout=30000")
        cursor.close()

    return engine

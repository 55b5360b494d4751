"""The clock that stored times are read from: the database's, which all hosts share."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa


def database_now(dialect: str) -> sa.ColumnElement[Any]:
    """Return the SQL for the time now, in seconds since 1970."""
    if dialect == "sqlite":
        return (sa.cast(sa.func.julianday("now"), sa.Float) - 2440587.5) * 86400.0
    return sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Float)

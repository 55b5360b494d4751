"""The index's clock: it starts at the database's time and then runs with the monotonic clock, so it never goes back."""

from __future__ import annotations

import time
from collections.abc import Callable

import sqlalchemy as sa

Clock = Callable[[], float]


def database_clock(engine: sa.Engine) -> Clock:
    """Return a clock in seconds since the epoch that a change of the host's clock does not move."""
    if engine.dialect.name == "sqlite":  # its clock is the host's
        start = time.time()
    else:
        with engine.connect() as connection:
            start = float(connection.scalar(sa.select(sa.extract("epoch", sa.func.clock_timestamp()))) or 0)
    offset = start - time.monotonic()
    return lambda: offset + time.monotonic()

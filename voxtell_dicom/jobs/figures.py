"""Figures of the job book for monitoring: counts and sums by SQL, however many jobs there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from voxtell_dicom.jobs.clock import database_now
from voxtell_dicom.jobs.tables import delivery_table, job_table, stage_table
from voxtell_dicom.model.states import FINAL


@dataclass(frozen=True)
class StageFigures:
    """Durations of a stage. at_most: how many took no longer than each of the bounds that were given."""

    stage: str
    number: int
    seconds: float
    at_most: tuple[int, ...]


class JobFigures:
    """Reads figures from the database of a job book."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._now = database_now(engine.dialect.name)

    def jobs(self) -> list[tuple[str, str, int]]:
        """Return state, rule and number of jobs."""
        table = job_table.c
        rows = self._rows(sa.select(table.state, table.rule, sa.func.count()).group_by(table.state, table.rule))
        return [(str(state), str(rule), int(number)) for state, rule, number in rows]

    def oldest(self) -> list[tuple[str, float]]:
        """Return, for each state that is not final, how long ago the longest waiting of its jobs was opened."""
        table = job_table.c
        age = self._now - sa.func.min(table.created)
        rows = self._rows(sa.select(table.state, age).where(table.state.not_in(FINAL)).group_by(table.state))
        return [(str(state), max(0.0, float(seconds))) for state, seconds in rows]

    def deliveries(self) -> list[tuple[str, str, int]]:
        """Return peer, outcome and number of attempts."""
        table = delivery_table.c
        rows = self._rows(sa.select(table.peer, table.state, sa.func.count()).group_by(table.peer, table.state))
        return [(str(peer), str(state), int(number)) for peer, state, number in rows]

    def stages(self, bounds: Sequence[float]) -> list[StageFigures]:
        """Return the stages that have ended; each attempt at a peer is the stage "deliver"."""
        table = stage_table.c
        kind = sa.case((table.stage.startswith("deliver "), "deliver"), else_=table.stage).label("kind")
        within = [sa.func.sum(sa.case((table.seconds <= bound, 1), else_=0)) for bound in bounds]
        wanted = sa.select(kind, sa.func.count(), sa.func.sum(table.seconds), *within)
        rows = self._rows(wanted.where(table.seconds.is_not(None)).group_by(kind).order_by(kind))
        return [StageFigures(str(row[0]), int(row[1]), float(row[2]), tuple(map(int, row[3:]))) for row in rows]

    def _rows(self, query: sa.Select[Any]) -> Sequence[Any]:
        with self._engine.connect() as connection:
            return connection.execute(query).all()

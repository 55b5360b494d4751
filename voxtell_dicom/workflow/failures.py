"""Counts of failures of workflows by their own fault: stored, so that restarts of the node neither add nor reset.

Own faults: its step raised what is not transient, or its worker process died in it. That the node was killed or stopped
meanwhile is none.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

MAX_FAILURES: Final = 3  # then its jobs are given up
_metadata = sa.MetaData()
failure_table = sa.Table(
    "voxtell_failure",
    _metadata,
    sa.Column("workflow_id", sa.String(255), primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("settled", sa.Boolean, nullable=False),  # its end in an error has been noted in the job book
)


class WorkflowFailures:
    """Reads and writes the failure counts of one database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        _metadata.create_all(engine)

    def add(self, workflow_id: str) -> int:
        """Count one more failure. Returns how many there are now."""
        table = failure_table
        mine = table.c.workflow_id == workflow_id
        with self._engine.begin() as connection:
            if not connection.execute(sa.update(table).where(mine).values(failures=table.c.failures + 1)).rowcount:
                connection.execute(sa.insert(table).values(workflow_id=workflow_id, failures=1, settled=False))
            return int(connection.execute(sa.select(table.c.failures).where(mine)).scalar_one())

    def unsettled(self, workflow_ids: list[str]) -> list[str]:
        """Return those of these workflows, in order, whose end in an error has not been noted in the job book yet."""
        table = failure_table
        query = sa.select(table.c.workflow_id).where(table.c.settled, table.c.workflow_id.in_(workflow_ids))
        with self._engine.connect() as connection:
            settled = set(connection.scalars(query))
        return [workflow_id for workflow_id in workflow_ids if workflow_id not in settled]

    def settle(self, workflow_id: str) -> None:
        """Note that the end of a workflow has been dealt with; the next call is no error."""
        mine = failure_table.c.workflow_id == workflow_id
        with self._engine.begin() as connection:
            if not connection.execute(sa.update(failure_table).where(mine).values(settled=True)).rowcount:
                connection.execute(sa.insert(failure_table).values(workflow_id=workflow_id, failures=0, settled=True))

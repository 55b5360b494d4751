"""Work that got stuck in a living node: started again, or given up where it failed too often.

The durable engine records what a workflow came to. Where the database refuses that very record (its disk is full, a
failover made it read-only), the workflow's thread ends and nobody goes on with it before the next start of the node.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
import structlog
from dbos._dbos import _get_dbos_instance
from dbos._recovery import _recover_workflow

from voxtell_dicom.jobs.book import JobBook
from voxtell_dicom.workflow.periodic import Repeating
from voxtell_dicom.workflow.recovery import settle_given_up

log = structlog.get_logger(__name__)


class Watch(Repeating):
    """Looks every `period_s` seconds, from a thread.

    What is stuck waits while less than `min_free_percent` of the storage folder's disk is free: it would fail again,
    and the engine counts how often a workflow was begun. `given_up` is told of every job that failed so.
    """

    def __init__(
        self,
        jobs: JobBook,
        executor: str,
        *,
        application_version: str,
        storage: Path,
        min_free_percent: float,
        given_up: Callable[[str], None],
        period_s: float = 5,
    ) -> None:
        super().__init__("watch", period_s)
        self._jobs = jobs
        self._executor = executor
        self._application_version = application_version
        self._storage = storage
        self._min_free_percent = min_free_percent
        self._given_up = given_up
        self._suspects: set[str] = set()

    def again(self) -> None:
        """Look, where the database answers."""
        try:
            self.look()
        except sa.exc.SQLAlchemyError as error:
            log.warning("the database does not answer; stuck work waits", error=type(error).__name__)

    def look(self) -> list[str]:
        """Start again what two looks in a row found stuck; fail the jobs of what was given up. Returns workflow ids.

        Twice, because a workflow that was claimed a moment ago is pending before its thread runs.
        """
        for job in settle_given_up(self._jobs):
            log.error("job failed: its work was given up", job=job)
            self._given_up(job)
        dbos = _get_dbos_instance()
        running = set(dbos._active_workflows_set.activeList())
        pending = dbos._sys_db.get_pending_workflows(self._executor, self._application_version)
        stuck = {workflow.workflow_id: workflow for workflow in pending if workflow.workflow_id not in running}
        again = self._suspects & stuck.keys()
        self._suspects = set(stuck)
        if not again or self._short_of_space():
            return []
        log.warning("work was stuck; it begins again", workflows=sorted(again))
        for workflow_id in again:
            _recover_workflow(dbos, stuck[workflow_id], [self._executor])
        return sorted(again)

    def _short_of_space(self) -> bool:
        usage = shutil.disk_usage(self._storage)
        return usage.total > 0 and 100 * usage.free / usage.total < self._min_free_percent

"""Work that got stuck in a living node: started again, or given up where it failed too often.

The durable engine records what a workflow came to. Where the database refuses that very record (its disk is full, a
failover made it read-only), the workflow's thread ends and nobody goes on with it before the next start of the node.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
import structlog
from dbos._dbos import _get_dbos_instance
from dbos._recovery import _recover_workflow

from voxtell_dicom.files import free_percent
from voxtell_dicom.jobs.book import JobBook
from voxtell_dicom.workflow.clock import DelayGuard
from voxtell_dicom.workflow.failures import WorkflowFailures
from voxtell_dicom.workflow.periodic import PeriodicTask
from voxtell_dicom.workflow.queues import active_workflows
from voxtell_dicom.workflow.recovery import settle_given_up

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class WatchedNode:
    """Whose work is watched, and what counts: executor id and application version as the durable engine knows them.

    Stuck work waits while less than `min_free_percent` of the disk of `storage` is free: it would fail again.
    longest_delay_s: no delayed work waits longer.
    """

    executor: str
    application_version: str
    storage: Path
    min_free_percent: float
    longest_delay_s: float


class Watch(PeriodicTask):
    """Looks every `period_s` seconds, from a thread. `given_up` is called with every job that failed."""

    def __init__(
        self,
        jobs: JobBook,
        failures: WorkflowFailures,
        node: WatchedNode,
        *,
        given_up: Callable[[str], None],
        period_s: float = 5,
    ) -> None:
        super().__init__("watch", period_s)
        self._jobs, self._failures, self._node = jobs, failures, node
        self._given_up = given_up
        self._delays = DelayGuard(node.longest_delay_s)
        self._suspects: set[str] = set()

    def run_once(self) -> None:
        """Look, if the database answers."""
        try:
            self._delays.check()
            self.look()
        except sa.exc.SQLAlchemyError as error:
            log.warning("the database does not answer; stuck work waits", error=type(error).__name__)

    def look(self) -> list[str]:
        """Start again what two looks in a row found stuck; fail the jobs of what was given up. Returns workflow ids.

        Twice, because a workflow that was claimed a moment ago is pending before its thread runs.
        """
        for job in settle_given_up(self._jobs, self._failures):
            log.error("job failed: its work was given up", job=job)
            self._given_up(job)
        dbos = _get_dbos_instance()
        running = set(active_workflows())
        pending = dbos._sys_db.get_pending_workflows(self._node.executor, self._node.application_version)
        found = {workflow.workflow_id: workflow for workflow in pending if workflow.workflow_id not in running}
        stuck = self._suspects & found.keys()
        self._suspects = set(found)
        if not stuck or self._short_of_space():
            return []
        log.warning("work was stuck; it begins again", workflows=sorted(stuck))
        for workflow_id in stuck:
            _recover_workflow(dbos, found[workflow_id], [self._node.executor])
        return sorted(stuck)

    def _short_of_space(self) -> bool:
        percent = free_percent(self._node.storage)
        return percent is not None and percent < self._node.min_free_percent

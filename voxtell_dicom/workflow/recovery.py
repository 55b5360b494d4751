"""Who is alive: a lock per storage folder, a lease per process, and the takeover of a machine that never comes back.

The durable engine restarts its own work after a crash, but leaves that of a dead machine alone. Here every node renews
a lease; the pending work of an executor whose lease stands still is recovered by whoever sees it. Recovery is
conditional on the dead executor's id, so several reapers do no harm.

No clock is compared with another's: a lease is alive while its value changes, and for how long it has not changed is
measured by the reaper's own monotonic clock. So a node reaps only after it has watched for one whole lifetime without a
break: else a database outage would make everybody look dead.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa
import structlog
from dbos import DBOS

from voxtell_dicom.errors import ConfigError
from voxtell_dicom.jobs.book import JobBook
from voxtell_dicom.model import JobState, Reason
from voxtell_dicom.model.states import FINAL
from voxtell_dicom.workflow.failures import WorkflowFailures
from voxtell_dicom.workflow.periodic import PeriodicTask

log = structlog.get_logger(__name__)
_metadata = sa.MetaData()
lease_table = sa.Table(
    "voxtell_lease",
    _metadata,
    sa.Column("executor_id", sa.String(128), primary_key=True),
    sa.Column(
        "expires", sa.Float, nullable=False
    ),  # by the database's clock, for people; that it changes is what counts
)


def lock_storage(storage: Path) -> IO[str]:
    """Take the storage folder for this process, until the returned file is closed or the process ends.

    Raises ConfigError if another node holds it, or it cannot be made or written.
    """
    try:
        storage.mkdir(parents=True, exist_ok=True)
        handle = (storage / "node.lock").open("w")
    except OSError as error:
        raise ConfigError(
            f"the storage folder {storage} (node.storage) cannot be written: {error.strerror}; make it writable "
            "for the user that runs the node, or set another one"
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        raise ConfigError(
            f"another node runs on the storage folder {storage.resolve()}: stop it, or set another node.storage"
        ) from None
    return handle


def executor_id(storage: Path) -> str:
    """A stable name for this node's process, never shared by two live ones: the host and its storage folder."""
    return f"{socket.gethostname()}:node:{storage.resolve()}"[:120]


class Leases(PeriodicTask):
    """Renews this process's lease and recovers the work of executors whose lease has stood still for `ttl_s`."""

    def __init__(
        self,
        engine: sa.Engine,
        executor: str,
        *,
        ttl_s: float = 30,
        renew_s: float = 5,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__("leases", renew_s)
        self._engine = engine
        self._executor = executor
        self._ttl_s = ttl_s
        self._monotonic = monotonic
        self._seen: dict[str, tuple[float | None, float]] = {}  # by executor: lease value, and since when
        self._looked = monotonic()
        _metadata.create_all(engine)

    def start(self) -> None:
        """Renew once, then go on in a thread. Once stopped, the lease runs out and the work stays ours by our name."""
        self.renew()
        super().start()

    def _now(self) -> sa.ColumnElement[Any]:
        if self._engine.dialect.name == "sqlite":
            return sa.cast(sa.func.julianday("now"), sa.Float) * 86400
        return sa.extract("epoch", sa.func.clock_timestamp())

    def renew(self) -> None:
        """Change the value of this process's lease."""
        expires = self._now() + self._ttl_s
        with self._engine.begin() as connection:
            changed = connection.execute(
                sa.update(lease_table).where(lease_table.c.executor_id == self._executor).values(expires=expires)
            )
            if changed.rowcount == 0:
                connection.execute(sa.insert(lease_table).values(executor_id=self._executor, expires=expires))

    def dead_executors(self) -> list[str]:
        """Return the owners of pending work whose lease has not changed for a lifetime, as watched from here."""
        owners = {
            workflow.executor_id
            for workflow in DBOS.list_workflows(status=["PENDING"], load_input=False, load_output=False)
            if workflow.executor_id and workflow.executor_id != self._executor
        }
        if not owners:
            self._seen, self._looked = {}, self._monotonic()
            return []
        query = sa.select(lease_table.c.executor_id, lease_table.c.expires)
        with self._engine.connect() as connection:
            values = {row.executor_id: row.expires for row in connection.execute(query)}
        now = self._monotonic()
        stalled = now - self._looked > self._ttl_s / 2  # we, not they: a paused machine sees all leases stand still
        before, self._seen, self._looked = {} if stalled else self._seen, {}, now
        for owner in owners:
            value = values.get(owner)
            known = before.get(owner)
            self._seen[owner] = known if known and known[0] == value else (value, now)
        return sorted(owner for owner, (_, since) in self._seen.items() if now - since > self._ttl_s)

    def run_once(self) -> None:
        """Renew; take over what is dead. A database that does not answer makes the watching begin anew."""
        try:
            self.renew()
            self.reap()
        except sa.exc.SQLAlchemyError as error:
            self._seen = {}
            log.warning("the database does not answer; the lease could not be renewed", error=type(error).__name__)

    def reap(self) -> list[str]:
        """Take over what dead executors left. Returns their ids."""
        dead = self.dead_executors()
        if dead:
            log.warning("taking over the work of dead nodes", executors=dead)
            DBOS._recover_pending_workflows(dead)
        return dead


def settle_given_up(jobs: JobBook, failures: WorkflowFailures) -> list[str]:
    """Mark the jobs failed whose workflow ended in an error. Returns their ids.

    Each end is dealt with once. A job that another workflow works on, after `jobs retry` for one, is left alone: no
    clock says which of two came later.
    """
    ended = DBOS.list_workflows(
        status=["ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"],
        limit=1000,
        sort_desc=True,
        load_input=False,
        load_output=False,
    )
    new = failures.unsettled([workflow.workflow_id for workflow in ended])
    if not new:
        return []
    active = DBOS.list_workflows(status=["ENQUEUED", "PENDING", "DELAYED"], load_output=False)
    in_work = {job for workflow in active for job in _jobs_of(workflow)}
    failed: list[str] = []
    for workflow in DBOS.list_workflows(workflow_ids=new, load_output=False):
        for job_id in _jobs_of(workflow):
            job = jobs.get(job_id)
            if job and job_id not in in_work and job.state not in (*FINAL, JobState.HELD):
                reason = Reason("given-up", {"workflow": workflow.name, "status": workflow.status})
                jobs.advance(job_id, JobState.FAILED, reason)
                failed.append(job_id)
        failures.settle(workflow.workflow_id)
    return failed


def _jobs_of(workflow: Any) -> list[str]:
    """The jobs that the input of a workflow names."""
    with contextlib.suppress(KeyError, IndexError, TypeError):
        data = workflow.input["args"][0]
        return list(data.get("jobs") or [data["job"]])
    return []

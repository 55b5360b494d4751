"""Who is alive: a lock per storage folder, a lease per process, and the takeover of a machine that never comes back.

The durable engine restarts its own work after a crash, but leaves that of a dead machine alone. Here every node renews
a lease by the database's clock; the pending work of an executor without a live lease is recovered by whoever sees it.
Recovery is conditional on the dead executor's id, so several reapers do no harm. A node reaps only after it has
renewed its own lease without a break for one whole lifetime: else a database outage would make everybody look dead.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import time
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa
import structlog
from dbos import DBOS

from voxtell_dicom.errors import ConfigError
from voxtell_dicom.jobs.book import JobBook
from voxtell_dicom.model import JobState, Reason
from voxtell_dicom.model.states import FINAL
from voxtell_dicom.workflow.periodic import Repeating

log = structlog.get_logger(__name__)
_metadata = sa.MetaData()
lease_table = sa.Table(
    "voxtell_lease",
    _metadata,
    sa.Column("executor_id", sa.String(128), primary_key=True),
    sa.Column("expires", sa.Float, nullable=False),
)


def lock_storage(storage: Path) -> IO[str]:
    """Take the storage folder for this process, until the returned file is closed or the process ends.

    Raises ConfigError where another node holds it.
    """
    storage.mkdir(parents=True, exist_ok=True)
    handle = (storage / "node.lock").open("w")
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


class Leases(Repeating):
    """Renews this process's lease and recovers the work of executors whose lease has run out."""

    def __init__(self, engine: sa.Engine, executor: str, *, ttl_s: float = 30, renew_s: float = 5) -> None:
        super().__init__("leases", renew_s)
        self._engine = engine
        self._executor = executor
        self._ttl_s = ttl_s
        self._unbroken_since = time.monotonic()
        _metadata.create_all(engine)

    def start(self) -> None:
        """Renew once, then go on in a thread. Once stopped, the lease runs out and the work stays ours by our name."""
        self.renew()
        self._unbroken_since = time.monotonic()
        super().start()

    def _now(self) -> sa.ColumnElement[Any]:
        if self._engine.dialect.name == "sqlite":
            return sa.cast(sa.func.julianday("now"), sa.Float) * 86400
        return sa.extract("epoch", sa.func.clock_timestamp())

    def renew(self) -> None:
        """Push this process's expiry a lifetime into the future, by the database's clock."""
        expires = self._now() + self._ttl_s
        with self._engine.begin() as connection:
            changed = connection.execute(
                sa.update(lease_table).where(lease_table.c.executor_id == self._executor).values(expires=expires)
            )
            if changed.rowcount == 0:
                connection.execute(sa.insert(lease_table).values(executor_id=self._executor, expires=expires))

    def dead_executors(self) -> list[str]:
        """Owners of pending work that hold no live lease."""
        with self._engine.connect() as connection:
            alive = set(
                connection.scalars(sa.select(lease_table.c.executor_id).where(lease_table.c.expires > self._now()))
            )
        owners = {workflow.executor_id for workflow in DBOS.list_workflows(status=["PENDING"], load_input=False)}
        return sorted(owner for owner in owners if owner and owner not in alive)

    def again(self) -> None:
        """Renew; take over what is dead, once the database has answered for a whole lifetime."""
        try:
            self.renew()
            if time.monotonic() - self._unbroken_since > self._ttl_s:
                self.reap()
        except sa.exc.SQLAlchemyError as error:
            self._unbroken_since = time.monotonic()
            log.warning("the database does not answer; the lease could not be renewed", error=type(error).__name__)

    def reap(self) -> list[str]:
        """Take over what dead executors left. Returns their ids."""
        dead = [executor for executor in self.dead_executors() if executor != self._executor]
        if dead:
            log.warning("taking over the work of dead nodes", executors=dead)
            DBOS._recover_pending_workflows(dead)
        return dead


def settle_given_up(jobs: JobBook) -> list[str]:
    """Mark the jobs failed whose workflow ended in an error or was recovered too often. Returns their ids."""
    failed: list[str] = []
    ended = DBOS.list_workflows(status=["ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"], limit=1000, sort_desc=True)
    for workflow in ended:
        with contextlib.suppress(KeyError, IndexError, TypeError):
            data = workflow.input["args"][0] if workflow.input else {}
            for job_id in data.get("jobs") or [data["job"]]:
                job = jobs.get(job_id)
                if (
                    job
                    and job.state not in (*FINAL, JobState.HELD)
                    # An older error is another attempt's: the job was moved since, by `jobs retry` for one.
                    and (workflow.updated_at or 0) / 1000 >= job.updated - 1
                ):
                    reason = Reason("given-up", {"workflow": workflow.name, "status": workflow.status})
                    jobs.advance(job_id, JobState.FAILED, reason)
                    failed.append(job_id)
    return failed

"""Polling of the durable queues: at once and fast while work is in flight in this process, else each second.

DBOS polls each registered queue at one fixed interval and reads the queue's numbers from the shared database. Here its
own polling loop runs on queues of this process, so that the numbers are this host's, and the event that the loop sleeps
on can be woken. These are private names of DBOS: `TESTED` says of which version, `tests/workflow/test_queues.py` holds
them to it.
"""

from __future__ import annotations

import importlib.metadata
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from dbos import _queue
from dbos._dbos import _get_dbos_instance

from voxtell_dicom.errors import ConfigError
from voxtell_dicom.workflow.periodic import PeriodicTask

TESTED = "3.4.0"  # pinned in pyproject.toml
LOOK_S = 1.0  # between looks at which queues hold work: how long what another process enqueues may wait
IDLE_POLL_S = 30.0  # of a queue that holds none
BUSY_POLL_S = 0.1
_BUSY_FOR_S = 1.0  # after something was enqueued here: the next stage is near


@dataclass(frozen=True)
class QueueLimits:
    """Limits on the workflows of a queue that run in this process at once: in all, or per partition. None: no limit."""

    name: str
    at_once: int | None = None
    per_partition: int | None = None


class PollTimer:
    """The stop event of one polling loop, as DBOS uses it (`is_set`, `wait`), whose wait can be cut short.

    in_work: whether work of this queue runs in this process, so that a slot may become free soon.
    """

    def __init__(self, in_work: Callable[[], bool], clock: Callable[[], float] = time.monotonic) -> None:
        self._in_work, self._clock = in_work, clock
        self._changed = threading.Condition()
        self._stopped = self._woken = False
        self._busy_until = 0.0

    def is_set(self) -> bool:
        """Return True once stopped."""
        return self._stopped

    def set(self) -> None:
        """Stop the loop."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def wake(self, *, soon_again: bool = True) -> None:
        """Poll now. soon_again: and often for a second."""
        with self._changed:
            self._woken = True
            if soon_again:
                self._busy_until = self._clock() + _BUSY_FOR_S
            self._changed.notify_all()

    def wait(self, timeout: float) -> bool:
        """Sleep until the next poll is due: woken, or after the interval. Returns True if stopped."""
        busy = self._clock() < self._busy_until or self._in_work()
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._woken, BUSY_POLL_S if busy else timeout)
            self._woken = False
            return self._stopped


class QueuePoller(PeriodicTask):
    """Starts enqueued workflows of some queues in this process, from one thread for each queue.

    One more thread looks once a second which of the queues hold work: one cheap query instead of one for each.
    """

    def __init__(self, queues: Sequence[QueueLimits]) -> None:
        """Raise ConfigError if the installed DBOS is not the tested version."""
        check_version()
        super().__init__("queues", LOOK_S)
        self._queues = queues
        self._timers: dict[str, PollTimer] = {}
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start polling; DBOS must be launched, and listen to no queue itself."""
        dbos = _get_dbos_instance()
        active = dbos._active_workflows_set
        for limits in self._queues:
            queue = _queue.Queue(
                limits.name,
                worker_concurrency=limits.at_once,
                partition_worker_concurrency=limits.per_partition,
                polling_interval_sec=IDLE_POLL_S,
                token=_queue._INTERNAL_QUEUE_CONSTRUCTION,
            )
            timer = PollTimer(lambda name=limits.name: active.count_for_queue(name) > 0)  # type: ignore[misc]
            self._timers[limits.name] = timer
            self._threads.append(
                threading.Thread(
                    target=_queue.queue_worker_thread,
                    args=(timer, dbos, queue),
                    name=f"queue-{limits.name}",
                    daemon=True,
                )
            )
        for thread in self._threads:
            thread.start()
        super().start()

    def run_once(self) -> None:
        """Wake the loops of the queues that hold work."""
        system = _get_dbos_instance()._sys_db
        table = system.tables.workflow_status
        # Literals, and both states, so that SQLite and PostgreSQL take the partial index of what is in flight.
        in_flight = sa.text("status IN ('ENQUEUED', 'PENDING') AND status = 'ENQUEUED'")
        query = sa.select(table.c.queue_name).where(in_flight).distinct()
        try:
            with system.engine.connect() as connection:
                waiting = list(connection.scalars(query))
        except sa.exc.SQLAlchemyError:  # away; the leases report it
            return
        for name in waiting:
            if timer := self._timers.get(name):
                timer.wake(soon_again=False)

    def wake(self, queue: str) -> None:
        """Look into a queue now: something was enqueued here."""
        if timer := self._timers.get(queue):
            timer.wake()

    def stop(self) -> None:
        """Start nothing more; return when no poll is under way, or one hangs on a database that is away."""
        super().stop()
        for timer in self._timers.values():
            timer.set()
        for thread in self._threads:
            thread.join(1)


def active_workflows() -> list[str]:
    """Return the ids of the workflows that run in this process."""
    return list(_get_dbos_instance()._active_workflows_set.activeList())


def waiting(queue: str) -> int:
    """Return how many workflows of a queue have not begun, in the whole database."""
    system = _get_dbos_instance()._sys_db
    table = system.tables.workflow_status
    enqueued = sa.text("status IN ('ENQUEUED', 'PENDING') AND status = 'ENQUEUED'")
    with system.engine.connect() as connection:
        count = sa.select(sa.func.count()).select_from(table).where(enqueued, table.c.queue_name == queue)
        return int(connection.scalar(count) or 0)


def check_version() -> None:
    """Raise ConfigError if the installed DBOS is not the version whose private names are used here."""
    installed = importlib.metadata.version("dbos")
    if installed != TESTED:
        raise ConfigError(f"dbos {installed} is installed, voxtell-dicom needs {TESTED}: pip install dbos=={TESTED}")

"""Base class of the background tasks that a node runs periodically."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod

import structlog

_STOP_S = 10.0  # a round that waits for a database that is away must not keep the node from stopping

log = structlog.get_logger(__name__)


class PeriodicTask(ABC):
    """Calls `run_once` every `period_s` seconds from a thread named `name` until it is stopped; errors are logged."""

    def __init__(self, name: str, period_s: float) -> None:
        self._period_s = period_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @abstractmethod
    def run_once(self) -> None:
        """Do one round of the task."""

    def start(self) -> None:
        """Start the thread; the first round comes after one period."""
        self._thread.start()

    def stop(self) -> None:
        """Return when the round in progress has ended, or hangs; no other follows."""
        self._stop.set()
        self._thread.join(_STOP_S)

    def _run(self) -> None:
        while not self._stop.wait(self._period_s):
            try:
                self.run_once()
            except Exception:
                log.exception("periodic task failed; next round as usual", task=self._thread.name, in_s=self._period_s)

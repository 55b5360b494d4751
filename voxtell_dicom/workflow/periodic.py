"""What a node does every so many seconds, beside its work."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod

import structlog

log = structlog.get_logger(__name__)


class Repeating(ABC):
    """Calls `again` every `period_s` seconds from a thread named `name`, until it is stopped. No error ends it."""

    def __init__(self, name: str, period_s: float) -> None:
        self._period_s = period_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @abstractmethod
    def again(self) -> None:
        """Do it once."""

    def start(self) -> None:
        """Begin, a period from now."""
        self._thread.start()

    def stop(self) -> None:
        """End, when what is under way is over."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._period_s):
            try:
                self.again()
            except Exception:
                log.exception("failed; it is tried again", what=self._thread.name, in_s=self._period_s)

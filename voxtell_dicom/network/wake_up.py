"""Waking a thread that waits for a socket and for queues at the same time (Linux: eventfd)."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from typing import TypeVar

Item = TypeVar("Item")


class WakeUp:
    """An event that a thread can wait for together with a socket, and that other threads set.

    The file descriptor exists between `open` and `close` only; setting it before or after is no error.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._descriptor = -1
        self._is_set = False
        self._owner = 0

    def open(self) -> int:
        """Return the file descriptor that is readable while the event is set. The caller's own `set` is ignored."""
        with self._lock:
            self._owner = threading.get_ident()
            self._descriptor = os.eventfd(int(self._is_set), os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            return self._descriptor

    def close(self) -> None:
        """Close the file descriptor."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._descriptor, self._owner = -1, 0

    def set(self) -> None:
        """Wake the waiting thread, or keep it from falling asleep."""
        if threading.get_ident() == self._owner:  # it looks at all queues before it waits again
            return
        with self._lock:
            if not self._is_set:
                self._is_set = True
                if self._descriptor >= 0:
                    os.eventfd_write(self._descriptor, 1)

    def clear(self) -> None:
        """Make the file descriptor unreadable until the next `set`."""
        with self._lock:
            if self._is_set:
                self._is_set = False
                os.eventfd_read(self._descriptor)


class SignallingQueue(queue.Queue[Item]):
    """A queue that calls `signal` after each item that is put into it."""

    def __init__(self, signal: Callable[[], None]) -> None:
        super().__init__()
        self._signal = signal

    def put(self, item: Item, block: bool = True, timeout: float | None = None) -> None:
        """Put an item, then call `signal`."""
        super().put(item, block, timeout)
        self._signal()

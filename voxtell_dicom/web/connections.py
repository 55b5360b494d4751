"""HTTP connections within bounds: a request's head is whole in time, and silent ones make room for others."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS: Final = 200  # beyond it the connection that was silent the longest is closed


class BoundedProtocol(H11Protocol):
    """uvicorn's protocol, with a time limit for the head of a request. head_s: set by the server for its class."""

    head_s: float = 15.0

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._head_timer: asyncio.TimerHandle | None = None
        self._silent_since = 0.0

    @property
    def is_idle(self) -> bool:
        """Return whether no request of the connection is being answered."""
        return self.cycle is None or bool(self.cycle.response_complete)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, and close the one that was silent the longest where there are too many."""
        super().connection_made(transport)
        self._silent_since = self.loop.time()
        self._set_timer()
        if len(self.connections) > MOST_CONNECTIONS:
            idle = [one for one in self.connections if isinstance(one, BoundedProtocol) and one.is_idle]
            min(idle, key=lambda one: one._silent_since).transport.close()  # this one is idle itself

    def data_received(self, data: bytes) -> None:
        """Take bytes; those of a head that is not whole yet give it no more time."""
        super().data_received(data)
        if not self.is_idle:
            self._silent_since = self.loop.time()
            self._drop_timer()
        elif self._head_timer is None:
            self._set_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        self._drop_timer()
        super().connection_lost(exc)

    def _set_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.head_s, self._too_slow)

    def _drop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        if self.is_idle and not self.transport.is_closing():
            self.transport.close()

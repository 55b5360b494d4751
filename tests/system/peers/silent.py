"""A peer that accepts TCP connections and never answers: what a hung PACS, or a firewall before it, looks like."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Any


class SilentPeer:
    """A context manager. `connections`: how many were opened so far."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = int(self._listener.getsockname()[1])
        self._open: list[socket.socket] = []

    @property
    def connections(self) -> int:
        """Return the number of connections that were opened so far."""
        return len(self._open)

    @property
    def dimse_settings(self) -> dict[str, Any]:
        """This peer as it stands in node.yaml."""
        return {"ae_title": "SILENT", "host": "127.0.0.1", "port": self.port, "timeout_s": 600}

    def __enter__(self) -> SilentPeer:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        for connection in self._open:
            connection.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._open.append(self._listener.accept()[0])

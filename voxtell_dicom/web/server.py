"""The listener: uvicorn in a thread of the node's process, with an event loop of its own."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from typing import Final

import structlog
import uvicorn

from voxtell_dicom.errors import PortUnavailable
from voxtell_dicom.web.app import create_app
from voxtell_dicom.web.connections import BoundedProtocol
from voxtell_dicom.web.services import Services

_HEAD_BYTES: Final = 1 << 16  # of a request's line and headers: a list of UIDs may be long
_BACKLOG: Final = 256  # connections that wait to be taken
_GRACE_S: Final = 5.0  # beyond the drain, for the thread to end
# Their lines quote what a request sent.
_QUOTING: Final = ("uvicorn", "uvicorn.error", "uvicorn.access", "python_multipart", "fastapi", "asyncio")

log = structlog.get_logger(__name__)


class WebServer:
    """`bind` and `start` once, then `begin_stop` and `join`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._socket: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """Return the open port; chosen by the system if node.yaml says 0."""
        return int(self._socket.getsockname()[1]) if self._socket else self._services.http.port

    def bind(self) -> None:
        """Take the port, and answer nobody yet. Raises PortUnavailable if that is not possible."""
        http = self._services.http
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(http.host, http.port, type=socket.SOCK_STREAM)[0]
            self._socket = socket.socket(family, kind, protocol)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(address)
        except OSError as error:
            self.close()
            raise self._not_listening(error) from error

    def _not_listening(self, error: OSError) -> PortUnavailable:
        http = self._services.http
        return PortUnavailable(
            f"cannot listen on {http.host}:{http.port} (node.http): {error}. Stop the program that uses the port, or "
            "choose another port"
        )

    def start(self) -> None:
        """Answer requests from now on. Raises PortUnavailable if that is not possible."""
        for name in _QUOTING:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        bounds = self._services.config.receive.bounds
        protocol = type("Protocol", (BoundedProtocol,), {"head_s": bounds.request_s})
        settings = uvicorn.Config(
            create_app(self._services),
            loop="asyncio",
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=_HEAD_BYTES,
        )
        if self._socket is None:
            self.bind()
        assert self._socket is not None
        try:
            self._socket.listen(_BACKLOG)
        except OSError as error:
            raise self._not_listening(error) from error
        self._server = uvicorn.Server(settings)
        self._thread = threading.Thread(target=self._run, args=(self._server, self._socket), name="web", daemon=True)
        self._thread.start()
        log.info("web ready", host=self._services.http.host, port=self.port)

    @staticmethod
    def _run(server: uvicorn.Server, listener: socket.socket) -> None:
        asyncio.run(server.serve(sockets=[listener]))

    def begin_stop(self, drain_s: float) -> None:
        """Take no new connections; requests under way get `drain_s` seconds, then they are cut off."""
        if self._server is not None:
            self._server.config.timeout_graceful_shutdown = int(drain_s)
            self._server.should_exit = True

    def join(self) -> None:
        """Return when all requests have ended or were cut off."""
        if self._thread is not None and self._server is not None:
            self._thread.join((self._server.config.timeout_graceful_shutdown or 0) + _GRACE_S)
        self._thread = None
        self.close()

    def close(self) -> None:
        """Let go of the port."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

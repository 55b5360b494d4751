"""The server that takes connections: bound first, opened later, and within bounds for each address."""

from __future__ import annotations

import sys
import threading
from typing import Any

import structlog
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.transport import ThreadedAssociationServer

from voxtell_dicom.network.tls import RenewableContext

log = structlog.get_logger(__name__)


class Server(ThreadedAssociationServer):
    """A server of associations that has its port from the start, and takes connections once it is opened."""

    request_queue_size = 128
    daemon_threads = True  # else the stop would wait for callers in a handshake
    tls: RenewableContext | None = None
    _is_open = False

    def server_activate(self) -> None:
        """Do nothing: `open` does it."""

    def open(self) -> None:
        """Take connections from now on, in a thread. Raises OSError."""
        super().server_activate()
        self._is_open = True
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, name="server", daemon=True).start()

    def service_actions(self) -> None:
        """Look for a renewed certificate, also while nobody calls; `serve_forever` calls it all the time."""
        super().service_actions()
        if self.tls is not None:
            self.tls.current()

    def stop(self) -> None:
        """Take no more connections, and let go of the port."""
        if self._is_open:
            self.shutdown()
        else:
            self.server_close()
            self.ae._servers.remove(self)

    def handle_error(self, _request: Any, client_address: Any) -> None:
        """Log what kept a connection from being served."""
        error = sys.exception()
        log.warning("connection not served", address=str(client_address[0]), error=f"{type(error).__name__}: {error}")


class Entity(AE):
    """An application entity whose limit on associations counts those that are established."""

    @property
    def active_associations(self) -> list[Association]:
        """Return the associations that are established; a connection without a request is none."""
        return [one for one in self.connections if one.is_established]

    @property
    def connections(self) -> list[Association]:
        """Return all associations and connections without one, of either side."""
        return super().active_associations

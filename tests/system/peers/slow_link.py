"""A TCP proxy that passes bytes on at a given speed: a hospital behind a thin line."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType


class SlowLink:
    """A context manager: `port` leads to the loopback port `to`, towards it at `bytes_per_s`, back at full speed."""

    def __init__(self, to: int, *, bytes_per_s: float) -> None:
        self._to, self._bytes_per_s = to, bytes_per_s
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> SlowLink:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                threading.Thread(target=self._pass_on, args=(near, far, self._bytes_per_s), daemon=True).start()
                threading.Thread(target=self._pass_on, args=(far, near, 0.0), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, bytes_per_s: float) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 14):
                sink.sendall(piece)
                if bytes_per_s:
                    time.sleep(len(piece) / bytes_per_s)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

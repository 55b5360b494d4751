"""DCMTK's command line tools as peers: storescu sends, storescp receives."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from tests.system.peers.ports import free_port, wait_for_port

# DCMTK switches Nagle's algorithm off only when told to; with it, each C-STORE on loopback waits 40 ms.
ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}


def storescu(
    files: Path | Sequence[Path],
    port: int,
    *,
    called: str = "VOXTELL",
    calling: str = "STORESCU",
    abort: bool = False,
    syntax: str | None = None,
    check: bool = True,
    timeout_s: float = 120.0,
) -> subprocess.CompletedProcess[str]:
    """Send files, or all files of a folder, over one association to the loopback port.

    abort: end with A-ABORT instead of a release. syntax: DCMTK's option for compressed files, e.g. "-xv" (JPEG 2000).
    check: raise CalledProcessError where a file was not stored. What each file was answered stands in stderr.
    """
    paths = [files] if isinstance(files, Path) else list(files)
    options = ["+sd", "+r"] if any(path.is_dir() for path in paths) else []
    options += ["--abort"] if abort else []
    options += [syntax] if syntax else []
    command = ["storescu", "-v", "-aet", calling, "-aec", called, *options, "127.0.0.1", str(port), *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=check, timeout=timeout_s)


def echoscu(port: int, *, called: str = "VOXTELL", calling: str = "ECHOSCU") -> bool:
    """Return whether a C-ECHO is answered with success."""
    command = ["echoscu", "-to", "5", "-aet", calling, "-aec", called, "127.0.0.1", str(port)]
    return subprocess.run(command, capture_output=True, env=ENVIRONMENT, check=False, timeout=30).returncode == 0


class StoreScp:
    """A context manager: storescp that keeps what it is sent in `folder`, bit for bit."""

    def __init__(self, folder: Path, *options: str, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> StoreScp:
        self.folder.mkdir(parents=True, exist_ok=True)
        command = ["storescp", "+B", "-od", str(self.folder), *self._options, str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT)
        wait_for_port(self.port)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    @property
    def files(self) -> list[Path]:
        """Return what has been stored, by name."""
        return sorted(path for path in self.folder.iterdir() if path.is_file())

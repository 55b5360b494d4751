"""A PostgreSQL server (Debian package) that can be killed and started again: own folder, loopback."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType

from tests.system.peers.ports import free_port


def _as_postgres() -> list[str]:
    return ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []


class PostgreSql:
    """A context manager. `url`: as it stands in node.yaml."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"postgresql://voxtell@127.0.0.1:{self.port}/postgres"
        self._binaries = max(Path("/usr/lib/postgresql").glob("*/bin"))
        self._folder = Path("/tmp") / f"voxtell-chaos-{os.getpid()}"  # its user cannot enter pytest's folder
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> PostgreSql:
        self._folder.mkdir()
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self._folder, user.pw_uid, user.pw_gid)
        create = [self._binaries / "initdb", "-D", self._folder / "data", "-A", "trust", "-U", "voxtell", "--no-sync"]
        subprocess.run([*_as_postgres(), *create], check=True, capture_output=True, cwd=self._folder)
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.crash()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start (again) and wait until it answers, its log replayed."""
        options = [
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            f"unix_socket_directories={self._folder}",
            "-c",
            "fsync=off",
        ]
        command = [self._binaries / "postgres", "-D", self._folder / "data", "-p", str(self.port), *options]
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen([*_as_postgres(), *command], stdout=log, stderr=log, cwd=self._folder)
        ready = [self._binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        deadline = time.monotonic() + 60
        while subprocess.run(ready, check=False).returncode:
            if time.monotonic() > deadline:
                raise TimeoutError((self._folder / "server.log").read_text()[-2000:])
            time.sleep(0.1)

    def crash(self) -> None:
        """End it as a crash does: SIGQUIT, connections cut, nothing written back (pg_ctl -m immediate)."""
        if self._process is None:
            return
        pid = int((self._folder / "data" / "postmaster.pid").read_text().split()[0])
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGQUIT)
        self._process.wait(60)
        self._process = None

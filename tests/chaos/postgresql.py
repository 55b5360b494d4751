"""A PostgreSQL server (Debian package) that can be killed and started again: own folder, loopback, stopped by pid."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

from tests.system.peers.ports import free_port


class PostgreSql:
    """A context manager. `url`: as it stands in node.yaml."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"postgresql://voxtell@127.0.0.1:{self.port}/postgres"
        self._binaries = max(Path("/usr/lib/postgresql").glob("*/bin"))
        self._folder = Path(tempfile.mkdtemp(prefix="voxtell-pg-", dir="/tmp"))  # its user cannot enter pytest's folder
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> PostgreSql:
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self._folder, user.pw_uid, user.pw_gid)
        subprocess.run(
            self._command("initdb", "-A", "trust", "-U", "voxtell", "--no-sync"),
            check=True,
            capture_output=True,
            cwd=self._folder,
        )
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.crash()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _command(self, program: str, *arguments: str) -> list[str]:
        """Return the command of a program on the data folder, as a user that PostgreSQL accepts."""
        user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        return [*user, str(self._binaries / program), "-D", str(self._folder / "data"), *arguments]

    def start(self) -> None:
        """Start (again) and wait until it answers, its log replayed."""
        settings = ("listen_addresses=127.0.0.1", f"unix_socket_directories={self._folder}", "fsync=off")
        options = [word for setting in settings for word in ("-c", setting)]
        command = self._command("postgres", "-p", str(self.port), *options)
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder)
        ready = [str(self._binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
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

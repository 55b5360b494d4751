"""A real PostgreSQL server (Debian package) for the tests of this folder: own folder, loopback, stopped by pid."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


def _as_postgres() -> list[str]:
    return ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []


@pytest.fixture(scope="module")
def postgresql_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    binaries = max(Path("/usr/lib/postgresql").glob("*/bin"))
    folder = Path("/tmp") / f"voxtell-pg-{os.getpid()}"  # not below pytest's folder: the server's user cannot enter it
    folder.mkdir()
    try:
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(folder, user.pw_uid, user.pw_gid)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        data = folder / "data"
        create = [binaries / "initdb", "-D", data, "-A", "trust", "-U", "voxtell", "--no-sync"]
        subprocess.run([*_as_postgres(), *create], check=True, capture_output=True, cwd=folder)
        options = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}", "-c", "fsync=off"]
        command = [binaries / "postgres", "-D", data, "-p", str(port), *options]
        user = {"user": "postgres"} if os.geteuid() == 0 else {}
        server = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **user)
        try:
            ready = [binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
            deadline = time.monotonic() + 60
            while subprocess.run(ready).returncode and time.monotonic() < deadline:
                time.sleep(0.1)
            yield f"postgresql://voxtell@127.0.0.1:{port}/postgres"
        finally:
            server.terminate()
            server.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)

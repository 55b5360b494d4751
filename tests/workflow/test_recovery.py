"""Takeover of a dead node's work, with real processes, kill -9 and both databases; and the lock of a storage folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from voxtell_dicom.errors import ConfigError
from voxtell_dicom.workflow.recovery import lock_storage

NODE = """
import os, sys, time
from pathlib import Path
from dbos import DBOS, SetWorkflowID
from voxtell_dicom.config import Config
from voxtell_dicom.archive.database import open_database
from voxtell_dicom.workflow.recovery import Leases

name, database, folder, blocks = sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4] == "blocks"
config = Config.model_validate(
    {"version": 1, "node": {"storage": folder, "database": database}, "model": {"engine": "threshold"}})
engine = open_database(config)

@DBOS.step()
def work():
    (folder / f"started-by-{name}").touch()
    while blocks:
        time.sleep(0.1)
    (folder / f"done-by-{name}").touch()

@DBOS.workflow()
def job():
    work()

DBOS(config={"name": "test", "system_database_engine": engine, "application_version": "1", "executor_id": name,
             "log_level": "CRITICAL"})
DBOS.listen_queues(["work"])
DBOS.launch()
DBOS.register_queue("work", worker_concurrency=1, polling_interval_sec=0.1)
leases = Leases(engine, name, ttl_s=1.5, renew_s=0.2)
leases.start()
if blocks:
    with SetWorkflowID("the-job"):
        DBOS.enqueue_workflow("work", job)
(folder / f"ready-{name}").touch()
time.sleep(60)
"""


@contextmanager
def node(name: str, database: str, folder: Path, role: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", NODE, name, database, str(folder), role])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def appears(path: Path, seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return path.exists()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_dead_nodes_work_is_taken_over_and_a_live_ones_is_not(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    database = f"sqlite:///{tmp_path}/node.sqlite" if kind == "sqlite" else request.getfixturevalue("postgresql_url")
    with node("first", database, tmp_path, "blocks") as first:
        assert appears(tmp_path / "started-by-first")
        with node("second", database, tmp_path, "reaps"):
            assert appears(tmp_path / "ready-second")
            time.sleep(3)  # two lifetimes of a lease: the first node is alive and keeps its work
            assert not (tmp_path / "started-by-second").exists()
            first.send_signal(signal.SIGKILL)
            assert appears(tmp_path / "done-by-second")


def test_a_storage_folder_has_one_node(tmp_path: Path) -> None:
    with lock_storage(tmp_path), pytest.raises(ConfigError, match="another node runs on"):
        lock_storage(tmp_path)
    lock_storage(tmp_path).close()


def test_the_lock_goes_with_the_process(tmp_path: Path) -> None:
    script = (
        "import sys, os, pathlib; from voxtell_dicom.workflow.recovery import lock_storage;"
        "h = lock_storage(pathlib.Path(sys.argv[1])); print('locked', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"locked\n"
    with pytest.raises(ConfigError):
        lock_storage(tmp_path)
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    lock_storage(tmp_path).close()

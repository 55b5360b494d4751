"""A whole node as its own process, as an administrator runs it: node.yaml, `serve`, signals, kill -9."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from tests.processes import children
from tests.system.peers.ports import free_port
from voxtell_dicom.jobs.sentences import sentence
from voxtell_dicom.model import Reason

PROGRAM = Path(sys.executable).with_name("voxtell-dicom")
SENDER = "STORESCU"  # the calling AE title of the test's own sender
CT_RULE: dict[str, Any] = {
    "name": "bright",
    "when": {"Modality": "CT"},
    "prompts": ["> 300"],
    "send_to": ["pacs"],
}
ENDED = ("delivered", "failed", "empty", "kept", "refused", "unmatched", "cancelled", "set_aside", "dropped", "held")


class NodeProcess:
    """A context manager: writes node.yaml into `folder`, serves it, kills what is left at the end.

    peers: name → settings, as in node.yaml; the test's own sender is added. rules: as in node.yaml.
    http: settings of `node.http`; without it nothing listens there.
    """

    def __init__(
        self,
        folder: Path,
        *,
        peers: Mapping[str, Mapping[str, Any]],
        rules: Sequence[Mapping[str, Any]] = (CT_RULE,),
        receive: Mapping[str, Any] | None = None,
        engine: str = "threshold",
        storage: Path | None = None,
        port: int | None = None,
        first_retry_s: float = 1,
        delivery: Mapping[str, Any] | None = None,
        database: str | None = None,
        http: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.http_port = free_port()
        self.ae_title = "VOXTELL"
        self.storage = storage or folder / "data"
        self.yaml = folder / "node.yaml"
        self.log_file = folder / "node.log"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        config = {
            "version": 1,
            "node": {
                "ae_title": self.ae_title,
                "dimse": {"host": "127.0.0.1", "port": self.port},
                **({"http": {"port": self.http_port, **http}} if http is not None else {}),
                "storage": str(self.storage),
                **({"database": database} if database else {}),
            },
            "receive": {"quiet_s": 1, "min_free_percent": 1, **(receive or {})},
            "model": {"engine": engine},
            "peers": {"sender": {"ae_title": SENDER}, **{name: dict(peer) for name, peer in peers.items()}},
            "rules": [dict(rule) for rule in rules],
            "delivery": {"first_retry_s": first_retry_s, "longest_retry_s": 2 * first_retry_s, **(delivery or {})},
        }
        self.yaml.write_text(yaml.safe_dump(config, sort_keys=False))

    def __enter__(self) -> NodeProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        if error is not None:
            print(f"--- {self.log_file}\n{self.log()[-6000:]}")

    def start(self, *, wait: bool = True) -> None:
        """Start `serve` (again); returns when the log says that the node is ready."""
        before = len(self.log())
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [PROGRAM, "serve", "-c", self.yaml],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                cwd=self.folder,
            )
        if wait:
            self.wait(lambda: "node ready" in self.log()[before:], what="the node to be ready", timeout_s=60)

    @property
    def pid(self) -> int:
        """Of the node."""
        assert self._process is not None
        return self._process.pid

    def children(self) -> list[int]:
        """Pids of the node's child processes: its workers."""
        return children(self.pid)

    def kill(self) -> None:
        """kill -9 of the node, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def kill_worker(self) -> int:
        """kill -9 of the (first) worker; returns its pid."""
        worker = self.children()[0]
        os.kill(worker, signal.SIGKILL)
        return worker

    def stop(self) -> int:
        """SIGTERM, as systemd sends it; returns the exit code."""
        assert self._process is not None
        self._process.terminate()
        code = self._process.wait(30)
        self._process = None
        return code

    def log(self) -> str:
        """Return what the node has logged so far."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def wait(self, happened: Callable[[], Any], *, what: str = "", timeout_s: float = 60, every_s: float = 0.1) -> Any:
        """Wait until `happened()` is true, and return it. Fails at once where the node has ended."""
        end = time.monotonic() + timeout_s
        while not (answer := happened()):
            if self._process is not None and self._process.poll() is not None:
                raise RuntimeError(f"the node ended with {self._process.returncode}: {self.log()[-3000:]}")
            if time.monotonic() > end:
                raise TimeoutError(f"waited {timeout_s} s for {what or 'it'}: {self.jobs()}")
            time.sleep(every_s)
        return answer

    def cli(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command of the command line on this node's node.yaml."""
        command = [str(PROGRAM), *words, "-c", str(self.yaml)]
        return subprocess.run(command, capture_output=True, text=True, check=check, timeout=60, cwd=self.folder)

    def jobs_cli(self) -> list[dict[str, Any]]:
        """`jobs list --json`."""
        jobs: list[dict[str, Any]] = json.loads(self.cli("jobs", "list", "--json").stdout)
        return jobs

    def read(self, query: str) -> list[dict[str, Any]]:
        """Read the node's SQLite file beside the node; it may not be there yet."""
        try:
            with sqlite3.connect(f"file:{self.storage / 'node.sqlite'}?mode=ro", uri=True, timeout=5) as connection:
                connection.row_factory = sqlite3.Row
                return [dict(row) for row in connection.execute(query)]
        except sqlite3.OperationalError:
            return []

    def jobs(self) -> list[dict[str, Any]]:
        """The job book, oldest first, read directly: quicker than the command line."""
        rows = self.read("SELECT id, state, reason, rule, series_uid FROM voxtell_job ORDER BY created")
        return [{**row, "reason": sentence(Reason(**json.loads(row["reason"])))} for row in rows]

    def pending(self) -> set[str]:
        """Names of the durable workflows that run at this moment: process, segment, publish, deliver."""
        return {row["name"] for row in self.read("SELECT name FROM workflow_status WHERE status = 'PENDING'")}

    def busy(self) -> bool:
        """Return whether a durable workflow runs or waits for its turn (a delivery that is put off does not count)."""
        return bool(self.read("SELECT 1 FROM workflow_status WHERE status IN ('PENDING', 'ENQUEUED') LIMIT 1"))

    def wait_until_idle(self, timeout_s: float) -> bool:
        """Return whether nothing was left to do within that time."""
        end = time.monotonic() + timeout_s
        while self.busy() and time.monotonic() < end:
            time.sleep(0.1)
        return not self.busy()

    def wait_for_jobs(self, *states: str, timeout_s: float = 60) -> list[dict[str, Any]]:
        """Wait until there are exactly so many jobs, all ended, in these states (in any order)."""

        def ended() -> list[dict[str, Any]]:
            jobs = self.jobs()
            done = len(jobs) >= len(states) and all(job["state"] in ENDED for job in jobs)
            return jobs if done and not self.busy() else []

        jobs = self.wait(ended, what=f"jobs {states}", timeout_s=timeout_s)
        found = sorted(job["state"] for job in jobs)
        assert found == sorted(states), jobs
        return list(jobs)

"""Kills at random instants: while series come in, a process that takes part is killed and started again.

In the end every accepted series is exactly one object at the PACS, with the right segments, and no job has failed.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
import sqlalchemy as sa

from tests.chaos.postgresql import PostgreSql
from tests.system.made_series import write_ct
from tests.system.node_process import CT_RULE, NodeProcess
from tests.system.peers.dcmtk import ENVIRONMENT
from tests.system.peers.orthanc import Orthanc
from tests.system.seg_check import assert_is_threshold

# Some prompts that find nothing keep the worker busy, so that kills meet each stage.
RULE = {**CT_RULE, "prompts": ["> 300", *(f"> {5000 + n}" for n in range(20))]}
VICTIMS = ("node", "worker", "pacs", "database")


@dataclass
class Chaos:
    """A node, its PACS and perhaps its database server, all of which may be killed.

    database: a server to run the node on; None: SQLite. say: called with a line for each thing that happens.
    """

    folder: Path
    node: NodeProcess
    pacs: Orthanc
    chance: random.Random
    database: PostgreSql | None = None
    say: Callable[[str], None] = lambda _line: None
    accepted: list[list[Path]] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)

    def send(self, count: int = 1, *, slices: int = 12, rows: int = 96, columns: int = 36) -> None:
        """Have `count` new series accepted, each sent again until every instance was answered with success."""
        for _ in range(count):
            number = len(self.accepted)
            files = write_ct(self.folder / f"series-{number}", seed=number, slices=slices, rows=rows, columns=columns)
            while not self._sent(files):
                time.sleep(0.2)
            self.accepted.append(files)

    def _sent(self, files: Sequence[Path]) -> bool:
        command = ["storescu", "-aet", "STORESCU", "-aec", "VOXTELL", "-to", "10", "127.0.0.1", str(self.node.port)]
        done = subprocess.run([*command, *map(str, files)], capture_output=True, env=ENVIRONMENT, check=False)
        return done.returncode == 0

    def round(self, number: int) -> None:
        """Send one or two series, and meanwhile kill something and start it again."""
        sender = threading.Thread(target=self.send, args=(self.chance.randint(1, 2),))
        sender.start()
        time.sleep(self.chance.uniform(0, 4))
        victims = [victim for victim in VICTIMS if self.database or victim != "database"]
        victim = self.chance.choice(victims)
        self.say(f"round {number}: {victim} is killed")
        self.kill(victim, down_s=self.chance.uniform(0, 2))
        sender.join()

    def kill(self, victim: str, *, down_s: float = 0) -> None:
        """kill -9 (PostgreSQL: an immediate shutdown); back after `down_s`. The worker comes back by the node."""
        self.kills[victim] += 1
        if victim == "node":
            self.node.kill()
            time.sleep(down_s)
            self.node.start()
        elif victim == "worker":
            for pid in [] if self._about_to_be_given_up() else self.node.children()[:1]:
                with contextlib.suppress(ProcessLookupError):  # it has just ended
                    os.kill(pid, signal.SIGKILL)
        elif victim == "pacs":
            self.pacs.stop(kill=True)
            time.sleep(down_s)
            self.pacs.start()
        elif self.database is not None:
            self.database.crash()
            time.sleep(down_s)
            self.database.start()

    def _about_to_be_given_up(self) -> bool:
        """Return whether a pass has lost its worker twice: a third death counts as the fault of its series."""
        workflows = "dbos.workflow_status" if self.database else "workflow_status"
        query = (
            f"SELECT 1 FROM voxtell_failure JOIN {workflows} ON workflow_uuid = workflow_id "
            "WHERE failures >= 2 AND status IN ('PENDING', 'ENQUEUED')"
        )
        return bool(self._read(query))

    def jobs(self) -> list[dict[str, Any]]:
        """The job book, read directly."""
        return self._read("SELECT id, state, reason FROM voxtell_job")

    def _read(self, query: str) -> list[dict[str, Any]]:
        url = self.database.url if self.database else f"sqlite:///{self.node.storage / 'node.sqlite'}"
        engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"), poolclass=sa.pool.NullPool)
        with engine.connect() as connection:
            return [dict(row) for row in connection.execute(sa.text(query)).mappings()]

    def storm(self, kills: int, seconds: float) -> None:
        """Kill the node at random instants within that time, and start it again at once, ready or not."""
        began = time.monotonic()
        for due in sorted(self.chance.uniform(0, seconds) for _ in range(kills)):
            time.sleep(max(0.0, began + due - time.monotonic()))
            self.kills["node"] += 1
            self.node.kill()
            self.node.start(wait=False)

    def check(self, timeout_s: float) -> None:
        """Wait until each accepted series is at the PACS; then: once each, right, and every job delivered."""
        expected = len(self.accepted)
        self.node.wait(
            lambda: (
                len(self.pacs.instances(modality="SEG")) >= expected
                and all(job["state"] == "delivered" for job in self.jobs())
            ),
            what=f"{expected} objects",
            timeout_s=timeout_s,
            every_s=0.5,
        )
        for files in self.accepted:
            study = str(pydicom.dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)
            found = self.pacs.instances(study, "SEG")
            assert len(found) == 1, f"{len(found)} objects for {study}"
            assert_is_threshold(self.pacs.download(found[0]), files, lambda hu: hu > 300)
        assert len(self.pacs.instances(modality="SEG")) == expected

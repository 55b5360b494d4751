"""One attempt of the node to deliver the results of a job in its book: as a function, and as a process to be killed."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from tests.deliver.small_seg import write_small_seg
from tests.workflow.test_jobs import PLAN
from voxtell_dicom.archive.database import open_database
from voxtell_dicom.config import Config
from voxtell_dicom.jobs.book import JobBook, NewJob
from voxtell_dicom.model import Result
from voxtell_dicom.workflow import deliver
from voxtell_dicom.workflow.messages import DeliverMessage
from voxtell_dicom.workflow.runtime import Runtime

JOB = "a1"


class Node:
    """The job book and what delivery needs of a node, in a folder; `peer` as in node.yaml."""

    def __init__(self, folder: Path, peer: dict[str, Any]) -> None:
        settings = {
            "version": 1,
            "node": {"storage": folder},
            "model": {"engine": "threshold"},
            "peers": {"pacs": peer},
        }
        self.config = Config.model_validate(settings)
        self.book = JobBook(open_database(self.config))
        self._runtime = cast(Runtime, SimpleNamespace(config=self.config, jobs=self.book))

    def open(self, folder: Path, count: int = 1) -> list[Result]:
        """Open the job with results of its own."""
        results = []
        for number in range(count):
            (folder / str(number)).mkdir(parents=True)
            results.append(write_small_seg(folder / str(number)))
        self.book.open(NewJob(JOB, "delivering", "1", "2", "v", plan=replace(PLAN, send_to=("pacs",))))
        self.book.record_results(JOB, results, [], [])
        return results

    def attempt(self, number: int) -> str:
        """Attempt to deliver; returns the state that it comes to."""
        job = self.book.get(JOB)
        assert job is not None
        uids = tuple(result.sop_instance_uid for result in job.results)
        return deliver.send(self._runtime, DeliverMessage(JOB, uids, "pacs", number))

    def message(self, result: Result) -> str:
        """Return the message of the newest attempt of a result in the job book."""
        return self.book.last_outcome(JOB, result.sop_instance_uid, "pacs").message


if __name__ == "__main__":
    Node(Path(sys.argv[1]), json.loads(sys.argv[2])).attempt(1)

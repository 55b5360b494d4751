"""A step that fails by its own fault is tried three times, over restarts; what is transient is waited out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
from pathlib import Path
from types import SimpleNamespace
import sqlalchemy as sa
from dbos import DBOS, SetEnqueueOptions, SetWorkflowID
from voxtell_dicom import retry
retry.RETRY_TRANSIENT["interval_seconds"] = 0.05
from voxtell_dicom.archive.database import open_database
from voxtell_dicom.config import Config
from voxtell_dicom.workflow import pipeline

config = Config.model_validate(
    {"version": 1, "node": {"storage": Path(sys.argv[1])}, "model": {"engine": "threshold"}})
engine = open_database(config)
runs = []

def publish_plan(runtime, job):
    runs.append(job)
    if job == "transient" and runs.count(job) < 6:
        raise sa.exc.OperationalError("INSERT", {}, Exception("disk is full"))
    if job == "wrong":
        raise ValueError("no use")
    return []

pipeline.publish_plan, pipeline.tidy, pipeline.notices_due = publish_plan, lambda *_: None, lambda *_: []
failures = pipeline.launch(SimpleNamespace(config=config, pool=SimpleNamespace(size=1)), engine, "me")

with engine.connect() as connection:  # of a shared database one host's number would be every host's
    assert connection.execute(sa.text("SELECT name FROM queues")).all() == []

def ended(job):
    pipeline._enqueue(pipeline.publish, job, {"v": 1, "job": job})
    try:
        DBOS.retrieve_workflow(job).get_result()
    except Exception as error:
        return type(error).__name__, runs.count(job)
    return "", runs.count(job)

assert ended("transient") == ("", 6), "no attempt counts"
assert ended("wrong") == ("ValueError", 3), runs
failures.add("wrong again")  # by a node that was killed since
failures.add("wrong again")
pipeline.publish_plan = lambda runtime, job: runs.append(job) or 1 / 0
assert ended("wrong again") == ("ZeroDivisionError", 1), runs
pipeline.send = lambda runtime, message: "failed"
with SetWorkflowID("of 0.1"), SetEnqueueOptions(priority=10):  # a delivery that version 0.1 left behind names no peer
    DBOS.enqueue_workflow("deliver", pipeline.deliver,
        {"v": 1, "job": "j", "result": {"sop_instance_uid": "2.25.1"}, "peer": "p", "attempt": 1})
assert DBOS.retrieve_workflow("of 0.1").get_result()["state"] == "failed"
assert pipeline.shut_down(10)
assert pipeline.shut_down(10), "once more is no error"
print("all as it should be")
"""


def test_own_failures(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.endswith("all as it should be\n"), done.stderr[-3000:]

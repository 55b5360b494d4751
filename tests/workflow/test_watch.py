"""Stuck work begins again, running work is left alone, what was given up ends its job. On a real engine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys, threading, time
from pathlib import Path
import sqlalchemy as sa
from dbos import DBOS, SetWorkflowID
from voxtell_dicom.config import Config
from voxtell_dicom.archive.database import open_database
from voxtell_dicom.workflow.failures import WorkflowFailures
from voxtell_dicom.workflow.watch import Watch, WatchedNode
from voxtell_dicom.jobs.book import JobBook, NewJob

folder = Path(sys.argv[1])
config = Config.model_validate({"version": 1, "node": {"storage": folder}, "model": {"engine": "threshold"}})
engine = open_database(config)
jobs, failures = JobBook(engine), WorkflowFailures(engine)
runs, release = [], threading.Event()

@DBOS.workflow(name="quick")
def quick(data):
    runs.append("quick")

@DBOS.workflow(name="slow")
def slow(data):
    runs.append("slow")
    release.wait(20)

@DBOS.workflow(name="wrong")
def wrong(data):
    raise ValueError("no use")

DBOS(config={"name": "test", "system_database_engine": engine, "application_version": "1", "executor_id": "me",
             "log_level": "CRITICAL"})
DBOS.listen_queues(["work"])
DBOS.launch()
DBOS.register_queue("work", worker_concurrency=4, polling_interval_sec=0.1)
def watch(min_free_percent=0):
    return Watch(jobs, failures, WatchedNode("me", "1", folder, min_free_percent, 600), given_up=given_up.append)
given_up = []

def begin(workflow, name, **data):
    with SetWorkflowID(name):
        return DBOS.enqueue_workflow("work", workflow, data)

def until(happened):
    end = time.monotonic() + 60
    while not happened() and time.monotonic() < end:
        time.sleep(0.05)
    assert happened()

begin(quick, "a-quick-one").get_result()
begin(slow, "a-slow-one")
until(lambda: "slow" in runs)
with engine.begin() as connection:  # as it stands where the engine could not write down how it ended
    connection.execute(sa.text(
        "UPDATE workflow_status SET status = 'PENDING', executor_id = 'me' WHERE workflow_uuid = 'a-quick-one'"))
full = watch(min_free_percent=99.99)
assert full.look() == [] and full.look() == [], "it waits for room"
look = watch().look
assert look() == [], "one look is no proof"
assert look() == ["a-quick-one"]
until(lambda: runs.count("quick") == 2)
until(lambda: DBOS.get_workflow_status("a-quick-one").status == "SUCCESS")
assert look() == [] and look() == []
assert runs.count("slow") == 1, "what runs is left alone"
release.set()

@DBOS.workflow(name="retry")
def retry(data):
    again.wait(60)

again = threading.Event()
for name in ("lost", "retried"):
    jobs.open(NewJob(name, "encoding", "1", "2", "3"))
    try:
        begin(wrong, name, job=name).get_result()
    except ValueError:
        pass
handle = begin(retry, "retried-by-hand", job="retried")
with engine.begin() as connection:  # the wall clock was set back an hour in between
    connection.execute(sa.text("UPDATE voxtell_job SET updated = updated + 3600"))
look()
assert (jobs.state("lost"), jobs.state("retried")) == ("failed", "encoding")
assert given_up == ["lost"]
again.set()
handle.get_result()
look()
assert jobs.state("retried") == "encoding", "an end is dealt with once"
DBOS.destroy()
print("all as it should be")
"""


def test_stuck_work(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.endswith("all as it should be\n"), done.stderr[-3000:]

"""A wall clock that is set back an hour delays nothing. On a real engine, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys, time
from pathlib import Path
from dbos import DBOS, SetEnqueueOptions, SetWorkflowID
from voxtell_dicom.archive.database import open_database
from voxtell_dicom.config import Config
from voxtell_dicom.workflow.clock import DelayGuard

config = Config.model_validate(
    {"version": 1, "node": {"storage": Path(sys.argv[1])}, "model": {"engine": "threshold"}})

@DBOS.workflow(name="work")
def work():
    pass

DBOS(config={"name": "test", "system_database_engine": open_database(config), "application_version": "1",
             "executor_id": "me", "log_level": "CRITICAL"})
DBOS.listen_queues([])
DBOS.launch()

def enqueue(name, delay_s):
    with SetWorkflowID(name), SetEnqueueOptions(priority=10, delay_seconds=delay_s):
        DBOS.enqueue_workflow("work", work)

def left_s(name):
    return DBOS.get_workflow_status(name).delay_until_epoch_ms / 1000 - time.time()

back_s, later_s = 0.0, 0.0
def wall():
    return time.time() + later_s - back_s

def guard():
    return DelayGuard(600, wall=wall, monotonic=lambda: time.monotonic() + later_s)

running = guard()
enqueue("soon", 500)
enqueue("ahead", 5000)
assert running.check() == ["ahead"], "set by a clock that ran an hour ahead, before this node started"
assert 550 < left_s("ahead") <= 600 and 450 < left_s("soon") <= 500
later_s = 100.0
assert running.check() == [], "time that passes is no step"
back_s = 3600.0  # the wall clock is set back by an hour while the node runs
assert sorted(running.check()) == ["ahead", "soon"]
assert -3150 < left_s("soon") + 0 < -3050 and left_s("ahead") < -2900, "each by the hour, so it is due as before"
assert running.check() == []
back_s = 0.0  # and forward again: what is due early is tried early
assert running.check() == []
DBOS.destroy()
print("all as it should be")
"""


def test_delays_move_along_with_the_wall_clock(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.endswith("all as it should be\n"), done.stderr[-3000:]

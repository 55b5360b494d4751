"""The polling loops: woken at once, fast while work runs, each second otherwise; and the private names of DBOS."""

from __future__ import annotations

import importlib.metadata
import inspect
import threading
import time
from pathlib import Path

import pytest
from dbos import _queue
from dbos._core import ActiveWorkflowById

from voxtell_dicom.errors import ConfigError
from voxtell_dicom.workflow import queues
from voxtell_dicom.workflow.queues import BUSY_POLL_S, PollTimer, check_version


class Waiter:
    """Waits on a timer in a thread, with an interval that no test would sit out."""

    def __init__(self, timer: PollTimer) -> None:
        self.answers: list[bool] = []
        self._thread = threading.Thread(target=lambda: self.answers.append(timer.wait(600)))
        self._thread.start()

    def answer(self) -> bool:
        self._thread.join(60)
        (answer,) = self.answers
        return answer


def test_a_wake_up_ends_the_wait_and_a_stop_ends_the_loop() -> None:
    timer = PollTimer(lambda: False, clock=lambda: 0.0)
    waiter = Waiter(timer)
    timer.wake()
    assert waiter.answer() is False
    assert not timer.is_set()
    timer = PollTimer(lambda: False)
    waiter = Waiter(timer)
    timer.set()
    assert waiter.answer() is True
    assert timer.is_set()
    assert timer.wait(600) is True


def test_it_polls_fast_after_a_wake_up_and_while_work_runs_here() -> None:
    now, working = 0.0, False
    timer = PollTimer(lambda: working, clock=lambda: now)
    timer.wake()
    assert timer.wait(600) is False  # woken
    began = time.monotonic()
    assert timer.wait(600) is False  # within the second after it
    now, working = 100.0, True
    assert timer.wait(600) is False  # work runs
    assert time.monotonic() - began < 300
    assert BUSY_POLL_S < 1
    now, working = 200.0, False
    waiter = Waiter(timer)  # idle: it waits as long as it is told to
    assert not waiter.answers
    timer.set()
    assert waiter.answer() is True


def test_another_version_of_dbos_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_version()
    monkeypatch.setattr(importlib.metadata, "version", lambda _name: "3.5.0")
    with pytest.raises(ConfigError, match=r"dbos==3\.4\.0"):
        check_version()


def test_the_private_names_are_as_they_were_read() -> None:
    """`QueuePoller` hands its timer to this very loop; a new DBOS must be read again before it is pinned."""
    assert list(inspect.signature(_queue.queue_worker_thread).parameters) == ["stop_event", "dbos", "queue"]
    source = inspect.getsource(_queue.queue_worker_thread)
    uses = {word for word in source.replace("(", " ").replace(":", " ").split() if word.startswith("stop_event.")}
    assert uses == {"stop_event.is_set", "stop_event.wait"}
    assert "if queue.database_backed_queue:" in source, "a queue that is not is used as it was made"
    made = _queue.Queue("q", partition_worker_concurrency=2, token=_queue._INTERNAL_QUEUE_CONSTRUCTION)
    assert not made.database_backed_queue
    assert made._has_partition_limits()
    assert {"activeList", "count_for_queue"} <= set(dir(ActiveWorkflowById))
    assert f'"dbos=={queues.TESTED}"' in (Path(queues.__file__).parents[2] / "pyproject.toml").read_text()

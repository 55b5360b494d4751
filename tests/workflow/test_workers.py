"""The worker process over its real pipes: answers, refusals, death, and leaving with the node."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from tests.processes import is_running
from voxtell_dicom.config import Model
from voxtell_dicom.engine.options import Options
from voxtell_dicom.errors import ModelError
from voxtell_dicom.line.masks import load_answers
from voxtell_dicom.workers.pool import NodeStopping, WorkerDied, WorkerPool, WorkerRefused, _engine_arguments

THRESHOLD = Model(engine="threshold")


def requests(*prompts: str) -> list[dict[str, object]]:
    return [{"prompt": prompt, "threshold": 0.5} for prompt in prompts]


def test_masks_come_back_and_the_process_stays(tmp_path: Path) -> None:
    array = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    np.save(tmp_path / "a.npy", array)
    pool = WorkerPool(THRESHOLD)
    try:
        assert pool.identity()
        assert pool.unknown(["> 300", "liver"]) == ["liver"]
        pids = pool.pids()
        for prompt, expected in (("> 30", array > 30), ("< 5", array < 5)):
            with pool.borrow() as worker:
                _, future = worker.submit(
                    "segment",
                    array=str(tmp_path / "a.npy"),
                    spacing_zyx_mm=[1, 1, 1],
                    requests=requests(prompt),
                    out=str(tmp_path / "out.json"),
                )
                assert future.result(30)["voxels"] == [int(expected.sum())]
            (answer,) = load_answers(tmp_path / "out.json")
            assert (answer.mask.to_array(array.shape) == expected).all()
        assert pool.pids() == pids
    finally:
        pool.stop()
    assert pool.pids() == []


def test_a_refusal_is_an_answer_and_the_next_task_works(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((2, 2, 2), np.float32))
    pool = WorkerPool(THRESHOLD)
    try:
        with pool.borrow() as worker:
            fields = {"spacing_zyx_mm": [1, 1, 1], "out": str(tmp_path / "out.json")}
            _, future = worker.submit("segment", array=str(tmp_path / "a.npy"), requests=requests("liver"), **fields)
            with pytest.raises(WorkerRefused, match="liver") as refused:
                future.result(30)
            assert refused.value.code == "unknown-prompt"
            _, future = worker.submit("segment", array=str(tmp_path / "no.npy"), requests=requests("> 0"), **fields)
            with pytest.raises(WorkerRefused, match="FileNotFoundError"):
                future.result(30)
            _, future = worker.submit("segment", array=str(tmp_path / "a.npy"), requests=requests("> 0"), **fields)
            assert future.result(30)["voxels"] == [8]
    finally:
        pool.stop()


def test_a_listener_that_fails_does_not_deafen_the_node(tmp_path: Path) -> None:
    """The job book on a full disk cannot note progress; the answer, and all later ones, must still be heard."""
    np.save(tmp_path / "a.npy", np.ones((2, 2, 2), np.float32))
    heard: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        heard.append((done, total))
        raise OSError("no space left on device")

    pool = WorkerPool(THRESHOLD)
    try:
        for _ in range(2):
            with pool.borrow() as worker:
                fields = {"spacing_zyx_mm": [1, 1, 1], "requests": requests("> 0", "> 1")}
                out = str(tmp_path / "out.json")
                _, future = worker.submit(
                    "segment", progress=progress, array=str(tmp_path / "a.npy"), out=out, **fields
                )
                assert future.result(30)["voxels"] == [8, 0]
        assert heard
    finally:
        pool.stop()


def test_a_killed_worker_fails_its_task_and_is_replaced() -> None:
    pool = WorkerPool(THRESHOLD)
    try:
        with pool.borrow() as worker:
            os.kill(worker.pid, signal.SIGSTOP)  # so that it cannot answer first
            _, future = worker.submit("unknown", prompts=["> 1"])
            os.kill(worker.pid, signal.SIGKILL)
            with pytest.raises(WorkerDied):
                future.result(30)
            assert not worker.alive
            dead = worker.pid
        assert pool.unknown(["x"]) == ["x"]
        assert dead not in pool.pids()
    finally:
        pool.stop()


def test_a_model_that_cannot_be_loaded_is_one_clear_error(tmp_path: Path) -> None:
    pool = WorkerPool(Model(directory=tmp_path / "nothing"))
    try:
        with pytest.raises(ModelError, match="nothing"):
            pool.identity()
    finally:
        pool.stop()


def test_the_options_of_node_yaml_reach_the_engine() -> None:
    model = Model.model_validate({"engine": "phantom", "windows": {"step": 0.75, "skip_empty": True}, "bfloat16": True})
    given = json.loads(_engine_arguments(model))
    assert {name: given[name] for name in ("kind", "step", "skip_empty", "bfloat16")} == {
        "kind": "phantom", "step": 0.75, "skip_empty": True, "bfloat16": True,
    }  # fmt: skip
    assert set(given) - {"directory", "kind", "bank", "text_model"} == {field.name for field in fields(Options)}


def test_the_worker_leaves_when_the_node_is_killed() -> None:
    script = (
        "import time; from voxtell_dicom.config import Model; from voxtell_dicom.workers.pool import WorkerPool;"
        "p = WorkerPool(Model(engine='threshold')); p.identity(); print('worker', p.pids()[0], flush=True);"
        "time.sleep(60)"
    )
    node = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert node.stdout is not None
    worker = next(int(line.split()[1]) for line in node.stdout if line.startswith("worker "))
    assert Path(f"/proc/{worker}").exists()
    node.kill()
    node.wait()
    deadline = time.monotonic() + 60
    while is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(worker)


def test_the_worker_leaves_when_the_node_dies_in_the_middle_of_a_line() -> None:
    command = [sys.executable, "-m", "voxtell_dicom.workers.worker", "--model", _engine_arguments(THRESHOLD)]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        assert b"ready" in worker.stdout.readline()
        worker.stdin.write(b'{"op": "segment", "id": "1", "requ')
        worker.stdin.close()
        worker.wait(30)
    finally:
        worker.kill()
        worker.stdout.close()


def test_a_dying_worker_that_no_longer_listens_is_not_taken_for_alive() -> None:
    """Between the end of its pipes and the end of its process lie some milliseconds: three attempts fit in there."""
    pool = WorkerPool(THRESHOLD)
    try:
        with pool.borrow() as worker:
            os.kill(worker.pid, signal.SIGSTOP)  # it has not ended, and yet:
            assert worker._process.stdin is not None
            broken = os.open(os.devnull, os.O_RDONLY)  # writing fails, as to a pipe that nobody reads
            os.dup2(broken, worker._process.stdin.fileno())
            os.close(broken)
            _, future = worker.submit("unknown", prompts=["> 1"])
            with pytest.raises(WorkerDied):
                future.result(30)
            assert not worker.alive
            os.kill(worker.pid, signal.SIGKILL)
        assert pool.unknown(["x"]) == ["x"]
    finally:
        pool.stop()


def test_what_is_interrupted_by_a_stop_is_no_failure_and_starts_no_other_worker() -> None:
    pool = WorkerPool(THRESHOLD)

    def work() -> None:
        with pool.borrow() as worker:
            os.kill(worker.pid, signal.SIGSTOP)  # so that it cannot answer first
            _, future = worker.submit("unknown", prompts=["> 1"])
            stopping.start()
            while not pool._stopping:
                time.sleep(0.01)
            os.kill(worker.pid, signal.SIGKILL)
            future.result(30)

    stopping = threading.Thread(target=pool.stop)
    with pytest.raises(NodeStopping):
        work()
    stopping.join()
    with pytest.raises(NodeStopping), pool.borrow():
        pass
    assert pool.pids() == []
    assert not issubclass(NodeStopping, Exception), "else a step would record it as its failure"

"""CPU workers on the nodes of a machine: made trees of /sys, and real processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from voxtell_dicom.config import Model
from voxtell_dicom.workers.numa import cpus_of_workers, parse_cpus, write_cpus
from voxtell_dicom.workers.pool import WorkerPool


def made(sysfs: Path, *cpulists: str) -> Path:
    for number, cpulist in enumerate(cpulists):
        node = sysfs / "devices" / "system" / "node" / f"node{number}"
        node.mkdir(parents=True)
        (node / "cpulist").write_text(cpulist + "\n")
    return sysfs


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("", set()), ("\n", set()), ("5", {5}), ("0-3,8-9\n", {0, 1, 2, 3, 8, 9}), ("0-1,3", {0, 1, 3})],
)
def test_lists_of_cpus_are_read_as_linux_writes_them(text: str, cpus: set[int]) -> None:
    assert parse_cpus(text) == cpus
    assert parse_cpus(write_cpus(frozenset(cpus))) == cpus


def test_cpu_workers_take_the_nodes_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(16)))
    sysfs = made(tmp_path, "0-3,8-11", "4-7,12-15", "")  # the third has memory only
    first, second = {0, 1, 2, 3, 8, 9, 10, 11}, {4, 5, 6, 7, 12, 13, 14, 15}
    for devices, expected in (
        (["cpu", "cpu"], [first, second]),
        (["cpu", "cpu", "cpu"], [first, second, first]),
        (["cuda:0", "cpu", "cuda:1", "cpu"], [None, first, None, second]),
        (["cpu"], [None]),  # one alone: all of them
        (["auto"], [None]),
        (["cuda:0", "cpu"], [None, None]),
    ):
        assert cpus_of_workers(devices, sysfs, {}) == expected


def test_nothing_changes_on_one_node_or_where_the_user_has_placed_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))
    two = made(tmp_path / "two", "0-3", "4-7")
    nothing = [None, None]
    both = ["cpu", "cpu"]
    assert cpus_of_workers(both, two, {}) != nothing
    assert cpus_of_workers(both, made(tmp_path / "one", "0-7"), {}) == nothing
    assert cpus_of_workers(both, tmp_path / "none", {}) == nothing
    assert cpus_of_workers(both, made(tmp_path / "odd", "0-3", "four"), {}) == nothing
    for name in ("OMP_NUM_THREADS", "GOMP_CPU_AFFINITY", "OMP_PROC_BIND"):
        assert cpus_of_workers(both, two, {name: "2"}) == nothing
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {4, 5})  # taskset -c 4,5: one node
    assert cpus_of_workers(both, two, {}) == nothing
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {3, 4, 5})  # never a CPU that taskset took away
    assert cpus_of_workers(both, two, {}) == [{3}, {4, 5}]


def test_the_processes_keep_to_their_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    ours = sorted(os.sched_getaffinity(0))
    halves = [write_cpus(frozenset(half)) for half in (ours[::2], ours[1::2]) if half]
    pool = WorkerPool(Model(engine="threshold", devices=["cpu", "cpu"]), made(tmp_path, *halves))
    try:
        with pool.borrow() as one, pool.borrow() as other:
            kept = [_allowed(worker.pid) for worker in (one, other)]
        assert kept == [parse_cpus(half) for half in (halves * 2)[:2]]
    finally:
        pool.stop()


def _allowed(pid: int) -> set[int]:
    """The CPUs that every thread of the process may use."""
    threads = [frozenset(os.sched_getaffinity(int(task.name))) for task in Path(f"/proc/{pid}/task").iterdir()]
    assert len(set(threads)) == 1
    return set(threads[0])

"""Which CPUs each CPU worker gets where a machine's memory lies in several nodes (sockets, mostly)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

SYSFS = Path("/sys")
Cpus = frozenset[int]
# Whoever sets one of these places threads by hand.
_BY_HAND = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OMP_PLACES",
    "OMP_PROC_BIND",
    "GOMP_CPU_AFFINITY",
    "KMP_AFFINITY",
)


def cpus_of_workers(
    devices: Sequence[str], sysfs: Path = SYSFS, environ: Mapping[str, str] = os.environ
) -> list[Cpus | None]:
    """For each device of `model.devices`, the CPUs that its worker may use; None: all that this process may use.

    Where several are "cpu", they take the nodes in turn. One alone takes all: docs/engine.md says why. Nothing is set
    where there is one node, or only one is left by this process's own affinity (taskset, a container's cpuset).
    """
    nodes = _nodes(sysfs) if devices.count("cpu") > 1 and not any(name in environ for name in _BY_HAND) else []
    if len(nodes) < 2:
        return [None] * len(devices)
    taken: list[Cpus | None] = []
    for device in devices:
        taken.append(nodes[sum(cpus is not None for cpus in taken) % len(nodes)] if device == "cpu" else None)
    return taken


def _nodes(sysfs: Path) -> list[Cpus]:
    """The CPUs of each node that this process may use; nodes without one (memory only, or not ours) are left out."""
    if not hasattr(os, "sched_getaffinity"):  # Linux only
        return []
    ours = os.sched_getaffinity(0)
    found = []
    for path in sorted(sysfs.glob("devices/system/node/node*/cpulist")):
        try:
            found.append(parse_cpus(path.read_text(encoding="ascii")) & ours)
        except (OSError, ValueError):  # a tree that we cannot read: better none than a wrong one
            return []
    return [node for node in found if node]


def parse_cpus(text: str) -> Cpus:
    """A list of CPUs as Linux writes it: "0-3,8-11", or nothing. Raises ValueError. See cpuset(7), "List format"."""
    cpus: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        cpus |= set(range(int(first), int(last or first) + 1))
    return frozenset(cpus)


def write_cpus(cpus: Cpus) -> str:
    """What `parse_cpus` reads, without ranges."""
    return ",".join(map(str, sorted(cpus)))

"""Facts of other processes from /proc; a process or thread that ends meanwhile is no error."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

GONE: Final = (FileNotFoundError, ProcessLookupError)  # at the opening of a file, or at the reading of an open one
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """Return the pids of a process's children."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        found += map(int, _read(path).split())
    return found


def is_running(pid: int) -> bool:
    """Return whether a process is there and no zombie (in a container nobody may be there to reap an orphan)."""
    fields = _fields(pid)
    return bool(fields) and fields[0] != "Z"


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process, user and system, and of its children that have ended (proc_pid_stat(5))."""
    return sum(map(int, _fields(pid)[11:15])) / _TICKS_PER_S


def peak_bytes(pid: int) -> int:
    """Return the most resident memory that a process has had, 0 where it has ended."""
    _, found, rest = _read(Path(f"/proc/{pid}/status")).partition("VmHWM:")
    return int(rest.split()[0]) * 1024 if found else 0


def _fields(pid: int) -> list[str]:
    """Return the fields of a process's stat file from the third on: those behind its name."""
    return _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except GONE:
        return ""

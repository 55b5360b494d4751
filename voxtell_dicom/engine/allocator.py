"""A process fit for an engine: memory that stays in it while it computes, threads that sleep while they wait.

glibc maps and unmaps buffers of 100 MB at each operation, page fault by page fault: a quarter to a third of the time on
a CPU. So freed memory is kept, but only from the second window on: what the first one allocates for good, many small
things, would lie scattered among the large blocks that are freed around it, and large ones no longer fit between.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any


def worker_environment() -> dict[str, str]:
    """Environment variables for whoever starts a process that runs an engine.

    An aligned block leaves splinters; kept aside for quick use, they keep it from growing together again when it is
    freed, and the next of its size finds no room there. Threads that spin without end while they wait took 5 times the
    CPU time where others shared the cores; those that sleep at once wake up late, thousands of times a window. So they
    spin for some microseconds.
    """
    return {
        "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0",
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "1000",
    }


def keep_freed_memory() -> bool:
    """Keep what is freed from now on, for this process's next use: to be called when a window is done, and harmless
    again. Returns whether it took effect. See mallopt(3).
    """
    libc = _glibc()
    mmap_max, trim_threshold, top_pad = -4, -1, -2
    settings = ((mmap_max, 0), (trim_threshold, -1), (top_pad, 1 << 30))  # -1: never trim
    return libc is not None and all(bool(libc.mallopt(name, value)) for name, value in settings)


def return_freed_memory() -> None:
    """Give back to the system what is free: to be called when a volume is done. See malloc_trim(3)."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


@cache
def _glibc() -> Any:
    """The C library, None where it is not glibc."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        libc = ctypes.CDLL("libc.so.6")
        return libc if libc.mallopt and libc.malloc_trim else None
    except (OSError, AttributeError):  # another C library
        return None

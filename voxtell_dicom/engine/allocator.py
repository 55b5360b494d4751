"""A process fit for an engine: memory that stays in it, threads that sleep while they wait."""

from __future__ import annotations

import ctypes
import sys


def worker_environment() -> dict[str, str]:
    """Environment variables for whoever starts a process that runs an engine.

    glibc maps and unmaps buffers of 100 MB at each operation, page fault by page fault, a third of the time on a CPU;
    these keep freed memory. Threads that spin without end while they wait took 5 times the CPU time where others shared
    the cores; those that sleep at once wake up late, thousands of times a window. So they spin for some microseconds.
    """
    return {
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": "100000000000",
        "MALLOC_TOP_PAD_": "1000000000",
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "1000",
    }


def keep_freed_memory() -> bool:
    """What the allocator settings of `worker_environment()` do, for this process. Returns whether it took effect.

    glibc would map and unmap buffers of 100 MB at each operation. See mallopt(3).
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library
        return False
    mmap_max, trim_threshold, top_pad = -4, -1, -2
    settings = ((mmap_max, 0), (trim_threshold, -1), (top_pad, 1 << 30))  # -1: never trim
    return all(bool(mallopt(name, value)) for name, value in settings)

"""What a process that computes windows holds of the memory that it has freed."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from voxtell_dicom.engine import worker_environment
from voxtell_dicom.model import Request, Segment, dump
from voxtell_dicom.workers import worker

ROOT = Path(__file__).resolve().parents[2]
PRELUDE = """
from pathlib import Path
import numpy as np
from voxtell_dicom.engine.allocator import keep_freed_memory, return_freed_memory
def held(name="VmRSS"):
    line = next(l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith(name))
    return int(line.split()[1]) >> 10
def touch(mib):
    return np.ones(mib << 20, np.uint8)
"""


def _run(code: str) -> list[int]:
    """The numbers (MiB) that the code prints, in a process with the worker's environment."""
    environment = {**os.environ, **worker_environment(), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PRELUDE + code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return [int(word) for word in done.stdout.split()]


def test_what_is_freed_is_kept_and_given_back_when_a_volume_is_done() -> None:
    before, kept, after = _run("""
touch(1), keep_freed_memory()
before = held()
some = [touch(100) for _ in range(4)]
del some
kept = held()
return_freed_memory()
print(before, kept, held())
""")
    assert kept > before + 380
    assert after < before + 20


def test_what_a_first_window_allocates_for_good_does_not_lie_between_large_blocks() -> None:
    """Each of its operations frees a large block and leaves a small one; the second window has none to leave."""
    windows = """
lasting = []
def window(first):
    for n in range(8):
        large = touch(64 + n)
        if first:
            lasting.append([bytes(20_000) for _ in range(8)])
        del large
before = held()
"""
    from_the_start, from_the_second = (
        _run(f"{windows}{order}; window(False); print(held('VmHWM') - before)")[0]
        for order in ("keep_freed_memory(); window(True)", "window(True); keep_freed_memory()")
    )
    assert from_the_second < 64 + 7 + 10
    assert from_the_start > from_the_second + 40, "what the order is for"


def test_the_worker_keeps_memory_from_its_second_window_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def segment(*_args: Any, progress: Any, **_more: Any) -> Iterator[Segment]:
        for n in range(2):
            seen.append("window")
            progress(n + 1, 2)
        yield Segment(Request("liver"), ((0, 0), (0, 0), (0, 0)), b"", 0)

    monkeypatch.setattr(worker, "keep_freed_memory", lambda: seen.append("keep"))
    np.save(tmp_path / "a.npy", np.zeros((2, 2, 2), np.float32))
    engine: Any = SimpleNamespace(unknown=lambda _prompts: [], segment=segment, last_run=None)
    task = {
        "id": "1", "array": str(tmp_path / "a.npy"), "spacing_zyx_mm": [1, 1, 1],
        "requests": [dump(Request("liver"))], "out": str(tmp_path / "out.json"),
    }  # fmt: skip
    sent = io.StringIO()
    wire: Any = SimpleNamespace(send=lambda **message: sent.write(f"{message}\n"))
    worker._segment(engine, task, wire, set())
    assert seen == ["window", "keep", "window", "keep"]
    assert "'done': {'voxels': [0]" in sent.getvalue()

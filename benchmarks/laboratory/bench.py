"""The bench of a section: device, model, remaining time, and the place for its numbers."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

RESERVE_S = 2.0  # for writing what was measured


@dataclass(frozen=True)
class Scale:
    """Sizes of the network, its windows and its volume."""

    patch: int  # edge of a window in voxels
    window_prompts: int  # of the windows that are measured
    prompts: tuple[int, ...]  # official against ours
    volume: tuple[int, int, int]  # z, y, x
    capped_volume: tuple[int, int, int]
    matrix: int  # edge of the product that measures the card's rate
    copied_bytes: int
    caps_gib: tuple[int, ...] = (24, 16, 12)
    rounds: int = 3


FULL = Scale(192, 20, (1, 4, 20, 60), (300, 512, 512), (200, 512, 512), 8192, 1 << 30)
TINY = Scale(32, 2, (1, 2), (40, 36, 36), (32, 36, 36), 64, 1 << 16, rounds=1)
TINY_FEATURES = [8, 16, 24, 32, 40, 40]
TINY_STRIDE = [1, 2, 2]  # of the lowest stage: a norm wants two voxels
TINY_SIZES = {"query_dim": 48, "mask_heads": 8, "mask_hidden_dim": 64}


@dataclass
class Bench:
    """One section's view of the laboratory."""

    folder: Path  # for texts that go beside the results
    work: Path  # for the model, stored settings and whatever else may be lost
    scale: Scale
    device: torch.device
    seconds: float  # the section's
    known: dict[str, Any]  # results of the sections before
    put: Callable[[dict[str, Any]], None]  # stores what has been measured so far
    clock: Callable[[], float] = time.perf_counter
    result: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._end = self.clock() + self.seconds

    @property
    def model(self) -> Path:
        """Return the model directory."""
        return self.work / "model"

    @property
    def is_tiny(self) -> bool:
        """Return whether this is a rehearsal."""
        return self.scale == TINY

    def left(self) -> float:
        """Seconds that the section has."""
        return self._end - self.clock() - RESERVE_S

    def note(self, *path: str, value: Any) -> None:
        """Store a number or a table under its names, at once."""
        at = self.result
        for name in path[:-1]:
            at = at.setdefault(name, {})
        at[path[-1]] = value
        self.put(self.result)

    def attempt(self, *path: str, work: Callable[[], Any]) -> Any:
        """Note what the work returns, or its error; nothing where the time is over. Returns it, or None."""
        if self.left() <= 0:
            self.note(*path, value={"error": "no time left"})
            return None
        try:
            value = work()
        except Exception as error:  # one alternative that fails is a result, too
            self.note(*path, value={"error": f"{type(error).__name__}: {error}"[:500]})
            torch.cuda.empty_cache()
            return None
        self.note(*path, value=value)
        return value

    def wait(self) -> None:
        """Wait until the card has done its work."""
        torch.cuda.synchronize(self.device)

    def timed(self, work: Callable[[], Any], at_most_s: float = 0.5) -> float:
        """Seconds of one call, the best of some batches, after one that compiles; short ones are batched."""
        if self.is_tiny:
            return self._batch(work, 1)
        work()
        first = self._batch(work, 1)
        size = max(1, min(50, math.ceil(0.01 / max(first, 1e-6))))
        best, end = first, self.clock() + at_most_s
        while self.left() > 0 and self.clock() < end:
            best = min(best, self._batch(work, size))
        return best

    def _batch(self, work: Callable[[], Any], size: int) -> float:
        self.wait()
        start = self.clock()
        for _ in range(size):
            work()
        self.wait()
        return (self.clock() - start) / size


def write_json(path: Path, data: Any) -> None:
    """Whole or not at all."""
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(data, indent=1), encoding="utf-8")
    partial.replace(path)

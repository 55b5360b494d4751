"""Search for the fastest tiles on this card: each is compared with the twin, then timed, within a time box."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from voxtell_dicom.engine.kernels.tiles import DEFAULTS, Kernel, Tile, Widths

_log = logging.getLogger(__name__)
SECONDS = 60.0
TOLERANCE = 2e-2  # float16 against float32, of the largest value


@dataclass(frozen=True, order=True)
class Launch:
    """A launch of the network whose tile is chosen."""

    widths: Widths
    low: tuple[int, int, int]  # the low grid of its stage
    stride: tuple[int, int, int]
    below: tuple[int, int, int] = (1, 1, 1)  # the stride of the stage whose features it reads


class Trial(Protocol):
    """Measurements on a card."""

    def difference(self, kernel: Kernel, tile: Tile) -> float:
        """Return by how much the kernel differs from its twin in float32, of the largest value."""

    def seconds(self, launch: Launch, tile: Tile) -> float:
        """Return how long the launch takes."""


def trusted(trial: Trial, kernel: Kernel, tile: Tile) -> bool:
    """Return whether a tile agrees with the twin on this card; the log says where it does not."""
    try:
        worst = trial.difference(kernel, tile)
    except Exception as error:  # a compiler or a launch that fails, fails in many ways
        _log.warning("%s with %s fails, and is not used: %s: %s", kernel, tile, type(error).__name__, error)
        return False
    if not worst <= TOLERANCE:
        _log.warning("%s with %s is wrong, and not used: it differs from float32 by %.1e", kernel, tile, worst)
        return False
    return True


def tune(
    launches: Sequence[Launch],
    fitting: Callable[[Kernel], Sequence[Tile]],
    trial: Trial,
    clock: Callable[[], float],
    seconds: float = SECONDS,
) -> Mapping[Widths, Tile]:
    """Return the fastest tile of each launch, of those that agree with the twin; kernels in the order of `launches`.

    Tile by tile, since compiling one takes longest: when `seconds` are over by `clock`, every launch of a kernel has
    been tried with the same ones, and the fastest so far is taken, or the default.
    """
    end = clock() + seconds
    offered = [(k, tile) for k in dict.fromkeys(launch.widths.kernel for launch in launches) for tile in fitting(k)]
    best: dict[Launch, float] = {}
    chosen: dict[Widths, Tile] = {}
    tried = 0
    for kernel, tile in offered:
        if clock() >= end:
            break
        tried += 1
        if not trusted(trial, kernel, tile):
            continue
        for launch in (each for each in launches if each.widths.kernel is kernel):
            took = _seconds(trial, launch, tile)
            if took < best.get(launch, math.inf):
                best[launch], chosen[launch.widths] = took, tile
    for launch in launches:
        if launch in best:
            _log.info("%s: %s takes %.3f ms", _words(launch), chosen[launch.widths], 1e3 * best[launch])
        else:
            _log.info("%s: not tuned, %s is used", _words(launch), DEFAULTS[launch.widths.kernel])
    if tried < len(offered):
        _log.warning("tuning stopped after %.0f s: %d of %d settings tried", seconds, tried, len(offered))
    return chosen


def _seconds(trial: Trial, launch: Launch, tile: Tile) -> float:
    """Return the seconds of a launch, infinite where it cannot be launched at full size."""
    try:
        return trial.seconds(launch, tile)
    except Exception as error:  # memory, or a launch that fails: another tile does the work then
        _log.warning("%s with %s fails: %s: %s", _words(launch), tile, type(error).__name__, error)
        return math.inf


def _words(launch: Launch) -> str:
    low = "×".join(map(str, launch.low))
    return f"{launch.widths} over {low}"

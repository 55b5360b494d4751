"""Where the network and the sums live, and what moves where when memory runs out.

For 512 × 512 × 1000 voxels and 30 prompts, patch 192³: the slab of sums takes 31 · 192 · 512² · 2 B = 3.1 GB on the
device, the masks 30 · 1000 · 512 · 64 B = 1.0 GB on the host, beside the volume and its z-scored copy (1.05 GB each).
One window's features in float16 are 0.45 GB at full resolution, of which encoder and decoder hold about eight at
once; the weights are 1.4 GB and their halves 0.7 GB, one prompt is decoded at a time. So 12 GB of device and 16 GB of
host memory are enough.
"""

from __future__ import annotations

import contextlib
import logging
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from voxtell_dicom.engine.accumulator import Accumulator
from voxtell_dicom.engine.windows import Windows
from voxtell_dicom.errors import OutOfMemory
from voxtell_dicom.model import Request, RunReport

_log = logging.getLogger(__name__)
_WORDS = ("out of memory", "can't allocate memory", "not enough memory")
_SHARE_FOR_SUMS = 0.5  # of the device's free memory: the rest is for the window being computed


@dataclass(frozen=True)
class Place:
    """Which device computes, and which holds the sums."""

    network: torch.device
    sums: torch.device
    is_last_resort: bool = False  # the network off its GPU: only where there is time for that


def places_for(device: torch.device) -> list[Place]:
    """From the fastest to the one that needs least of the device."""
    cpu = torch.device("cpu")
    if device.type == "cpu":
        return [Place(cpu, cpu)]
    return [Place(device, device), Place(device, cpu), Place(cpu, cpu, is_last_resort=True)]


def ran_out(error: BaseException) -> bool:
    """Whether a RuntimeError of torch means that there was no memory."""
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in _WORDS)


@contextlib.contextmanager
def told_as_out_of_memory() -> Iterator[None]:
    """Raise OutOfMemory for what numpy and torch raise where there was no memory: it is worth a try later."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not ran_out(error):
            raise
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise OutOfMemory(f"the engine ran out of memory beside the windows: {first}") from error


def peak_host_bytes() -> int:
    """The most memory that this process has held since it was started.

    Of Linux's two answers this is the process's own; getrusage's also counts what its parent held when it started it.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Allowance:
    """How long a piece of work may take, from now on; None: as long as it likes."""

    def __init__(self, seconds: float | None = None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        """Seconds that are left; infinite where there is no limit."""
        return float("inf") if self._end is None else self._end - time.monotonic()


class Places:
    """The places of one pass, the current one first; each step down is logged.

    A window's prompts are decoded one at a time, so there is no smaller batch of them to step down to: what grows with
    their number is the slab of sums, which goes to the host first. Then the network goes to the CPU, where the time
    that it will take is within what is left: estimated before, measured from the first window on.
    """

    def __init__(
        self,
        places: Sequence[Place],
        windows: Windows,
        count: int,
        prompts: int,
        allowance: Allowance,
        cpu_seconds_per_window: Callable[[int], float],
    ) -> None:
        """count: windows that will be computed. cpu_seconds_per_window: an estimate, from the number of prompts."""
        self._places = list(places)
        self._first = places[0].network
        self._windows = windows
        self._count = count
        self._prompts = prompts
        self._allowance = allowance
        self._cpu_seconds_per_window = cpu_seconds_per_window
        self._done = 0  # windows
        self._measured: tuple[float, int] | None = None  # on the last resort: when it began, and after which window
        self._steps: list[str] = []
        device = self.current.sums
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            need, _ = Accumulator.needs_bytes(windows, prompts)
            free, _ = torch.cuda.mem_get_info(device)
            if need > _SHARE_FOR_SUMS * free:
                self._down(f"the sums need {need >> 20} MiB, {device} has {free >> 20} MiB free")

    @property
    def current(self) -> Place:
        """The place in use."""
        return self._places[0]

    def accumulator(self, owners: Sequence[Sequence[Request]]) -> Accumulator:
        """Allocated where it fits. Raises OutOfMemory."""
        while True:
            try:
                return Accumulator(self._windows, owners, self.current.sums)
            except RuntimeError as error:
                self.step_down(error, None)

    def step_down(self, error: RuntimeError, accumulator: Accumulator | None) -> None:
        """Go to the next place, taking the sums along. Raises `error` if it is another, OutOfMemory after the last."""
        if not ran_out(error):
            raise error
        first = str(error).splitlines()[0]
        if len(self._places) == 1:
            raise OutOfMemory(f"the engine ran out of memory on {self.current.network}: {first}") from error
        if self._places[1].is_last_resort:
            try:
                self._check_time(self._cpu_seconds_per_window(self._prompts), "about")
            except OutOfMemory as too_long:
                _log.warning("memory ran out (%s): %s", first, too_long)
                raise too_long from error
            self._measured = (time.monotonic(), self._done)
        self._down(first)
        if accumulator is not None and accumulator.device != self.current.sums:
            accumulator.move_to(self.current.sums)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def window_done(self) -> None:
        """A window is finished. Raises OutOfMemory where the last resort turns out to be too slow."""
        self._done += 1
        if self._measured is not None:
            since, before = self._measured
            self._check_time((time.monotonic() - since) / (self._done - before), "by what was measured")

    def _check_time(self, seconds_per_window: float, how: str) -> None:
        left, in_all = self._count - self._done, self._count
        need = left * seconds_per_window
        if need > self._allowance.left_s:
            raise OutOfMemory(
                f"{self._first} ran out of memory, and the CPU would take {how} {_minutes(need)} for {left} of "
                f"{in_all} windows, where {_minutes(max(self._allowance.left_s, 0))} are left: free the GPU, or allow "
                "more time (max_minutes of the rule)"
            )

    def report(self, encoded: int) -> RunReport:
        """What the pass took; `encoded`: how often the encoder ran."""
        cuda = self._first.type == "cuda"
        return RunReport(
            windows=self._count,
            encoded=encoded,
            device=str(self.current.network),
            steps=tuple(self._steps),
            peak_device_bytes=torch.cuda.max_memory_allocated(self._first) if cuda else 0,
            peak_host_bytes=peak_host_bytes(),
        )

    def _down(self, why: str) -> None:
        self._places.pop(0)
        step = f"network on {self.current.network}, sums on {self.current.sums}"
        self._steps.append(step)
        _log.warning("memory ran out (%s): now %s", why, step)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min"

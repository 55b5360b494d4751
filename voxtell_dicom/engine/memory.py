"""Where the network and the sums live, and what moves where when memory runs out.

For 512 × 512 × 1000 voxels and 30 prompts, patch 192³: the slab of sums takes 31 · 192 · 512² · 2 B = 3.1 GB on the
device, the masks 30 · 1000 · 512 · 64 B = 1.0 GB on the host, beside the volume and its z-scored copy (1.05 GB each).
One window's features in float16 are 0.45 GB at full resolution, of which encoder and decoder hold about eight at
once; the weights are 0.9 GB, one prompt is decoded at a time. So 12 GB of device and 16 GB of host memory are enough.
"""

from __future__ import annotations

import logging
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass

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


def places_for(device: torch.device) -> list[Place]:
    """From the fastest to the one that needs least of the device."""
    cpu = torch.device("cpu")
    if device.type == "cpu":
        return [Place(cpu, cpu)]
    return [Place(device, device), Place(device, cpu), Place(cpu, cpu)]


def ran_out(error: BaseException) -> bool:
    """Whether a RuntimeError of torch means that there was no memory."""
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in _WORDS)


class Places:
    """The places of one pass, the current one first; each step down is logged."""

    def __init__(self, places: Sequence[Place], windows: Windows, prompts: int) -> None:
        self._places = list(places)
        self._first = places[0].network
        self._windows = windows
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
        self._down(first)
        if accumulator is not None and accumulator.device != self.current.sums:
            accumulator.move_to(self.current.sums)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def report(self, encoded: int) -> RunReport:
        """What the pass took; `encoded`: how often the encoder ran."""
        cuda = self._first.type == "cuda"
        unit = 1 if sys.platform == "darwin" else 1024
        return RunReport(
            windows=len(self._windows),
            encoded=encoded,
            device=str(self.current.network),
            steps=tuple(self._steps),
            peak_device_bytes=torch.cuda.max_memory_allocated(self._first) if cuda else 0,
            peak_host_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        )

    def _down(self, why: str) -> None:
        self._places.pop(0)
        step = f"network on {self.current.network}, sums on {self.current.sums}"
        self._steps.append(step)
        _log.warning("memory ran out (%s): now %s", why, step)

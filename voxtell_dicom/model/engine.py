"""The engine as the rest of the house sees it (contracts § 7): arrays in, masks out; no DICOM."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from voxtell_dicom.model.mask import Box, Mask
from voxtell_dicom.model.plan import Cleanup, Resampling
from voxtell_dicom.model.volume import Vector


@dataclass(frozen=True)
class Request:
    """One prompt for the engine. Segment where the probability is above `threshold`.

    Requests of the same `exclusive_group` share no voxel: it goes to the most probable one.
    """

    prompt: str
    threshold: float = 0.5
    probability: bool = False
    cleanup: Cleanup = field(default_factory=Cleanup)
    exclusive_group: str = ""
    resampling: Resampling | None = None


@dataclass(frozen=True)
class Segment:
    """The engine's answer to one request, on the RAS grid (z, y, x) of the array it was given."""

    request: Request
    box_zyx: Box
    packed_bits: bytes
    voxels: int
    mean_probability: float | None = None
    uncertain_share: float | None = None
    probability: npt.NDArray[np.float16] | None = None  # inside the box, 0 below the threshold; where it was requested

    @property
    def mask(self) -> Mask:
        """The same, as a Mask."""
        return Mask(self.box_zyx, self.packed_bits, self.voxels)


@dataclass(frozen=True)
class RunReport:
    """What the engine took for one volume, all its requests together."""

    windows: int
    encoded: int  # how often the image encoder ran: as often as there are windows, however many prompts there are
    device: str  # that of the network in the end
    steps: tuple[str, ...]  # taken because memory ran out
    peak_device_bytes: int  # 0 on a CPU
    peak_host_bytes: int  # of the process, since its start

    def and_then(self, later: RunReport) -> RunReport:
        """Both passes as one."""
        return RunReport(
            windows=self.windows + later.windows,
            encoded=self.encoded + later.encoded,
            device=later.device,
            steps=self.steps + later.steps,
            peak_device_bytes=max(self.peak_device_bytes, later.peak_device_bytes),
            peak_host_bytes=max(self.peak_host_bytes, later.peak_host_bytes),
        )

    def in_words(self) -> str:
        """One line for people: "4 windows, each encoded once, on cpu, peak 1.1 GiB host"."""
        windows = f"{self.windows} window{'s' * (self.windows != 1)}"
        encoded = "each encoded once" if self.encoded == self.windows else f"encoded {self.encoded} times"
        peaks = f"{self.peak_host_bytes / 2**30:.1f} GiB host"
        if self.peak_device_bytes:
            peaks = f"{self.peak_device_bytes / 2**30:.1f} GiB GPU, {peaks}"
        short = "".join(f"; memory ran out: {step}" for step in self.steps)
        return f"{windows}, {encoded}, on {self.device}, peak {peaks}{short}"


Progress = Callable[[int, int], None]  # windows done, windows in all
Cancelled = Callable[[], bool]


class Engine(Protocol):
    """The engine, as the rest of the house sees it (contracts § 7). Arrays in, masks out; no DICOM."""

    @property
    def identity(self) -> str:
        """Code version and model digest: part of the plan key."""

    @property
    def last_run(self) -> RunReport | None:
        """Return what the last `segment` took; None where there was nothing to compute or the engine does not count."""

    def unknown(self, prompts: Sequence[str]) -> list[str]:
        """Those of `prompts` that this engine cannot run."""

    def segment(
        self,
        array_zyx: npt.NDArray[np.float32],
        spacing_zyx_mm: Vector,
        requests: Sequence[Request],
        *,
        progress: Progress,
        cancelled: Cancelled,
        within_s: float | None = None,
    ) -> Iterator[Segment]:
        """array_zyx: RAS volume, HU for CT. Yields one Segment per request, in any order. One pass over the windows.

        within_s: how long it may take; an engine that would have to go on more slowly asks whether that can be.
        """

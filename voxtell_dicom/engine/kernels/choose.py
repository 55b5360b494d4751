"""Which implementation runs on a device: the Triton kernels only where they agree with the twin on that very card."""

from __future__ import annotations

import logging
import re
from functools import cache
from pathlib import Path
from typing import Any

import torch

from voxtell_dicom.engine.fold import Layout
from voxtell_dicom.engine.kernels.twin import TorchOps

_log = logging.getLogger(__name__)
_TOLERANCE = 2e-2  # float16 against float32, of the largest value


class TritonOps(TorchOps):
    """The twin's operations as Triton kernels."""

    name = "triton"

    def __init__(self) -> None:
        """Raises ImportError where Triton is not installed."""
        from voxtell_dicom.engine.kernels import dot, norm, upconv

        self.upconv = upconv.upconv  # type: ignore[method-assign]
        self.sums = norm.sums  # type: ignore[method-assign]
        self.normalise_ = norm.normalise_  # type: ignore[method-assign]
        self.dot_accumulate = dot.dot_accumulate  # type: ignore[method-assign]


@cache
def ops_for(device_type: str, device_index: int = 0) -> TorchOps:
    """The operations for a device; the choice and what was seen are logged once."""
    if device_type != "cuda":
        return TorchOps()
    device = torch.device(device_type, device_index)
    where = card_in_words(device)
    try:
        ops = TritonOps()
        worst = self_test(ops, device, torch.float16)
    except Exception as error:  # a compiler that fails, fails in many ways: the twin does the work then
        _log.warning("Triton kernels not used on %s: %s: %s", where, type(error).__name__, error)
        return TorchOps()
    if worst > _TOLERANCE:
        _log.warning("Triton kernels not used on %s: they differ from float32 by %.1e", where, worst)
        return TorchOps()
    _log.info("Triton kernels in use on %s: they differ from float32 by %.1e", where, worst)
    return ops


def card_in_words(device: torch.device) -> str:
    """The card and the versions of all that computes on it."""
    card = torch.cuda.get_device_name(device)
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    versions = f"torch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN {cudnn}, driver {_driver_version()}"
    return f"{card}, {versions}"


def _driver_version(said: Path = Path("/proc/driver/nvidia/version")) -> str:
    try:
        found = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s", said.read_text(encoding="ascii", errors="replace"))
    except OSError:  # another system, or a sandbox that does not show it
        found = None
    return found[1] if found else "unknown"


@torch.inference_mode()
def self_test(ops: TorchOps, device: torch.device, dtype: torch.dtype) -> float:
    """The largest difference between `ops` in `dtype` on `device` and the twin in float32 on the CPU, relative."""
    worst = 0.0
    for stride in ((2, 2, 2), (1, 2, 2)):
        layout = Layout((3, 5, 4), stride)
        for channels, below in ((8, 16), (32, 48)):
            made = _inputs(layout, channels, below)
            reference = _chain(TorchOps(), layout, {k: v.clone() for k, v in made.items()})
            moved = {k: v.to(device, v.dtype if k in _WIDE else dtype) for k, v in made.items()}
            for got, expected in zip(_chain(ops, layout, moved), reference, strict=True):
                scale = max(float(expected.abs().max()), 1e-6)
                worst = max(worst, float((got.cpu().double() - expected.double()).abs().max()) / scale)
    return worst


_WIDE = ("scale", "shift", "embedding", "importance", "target")


def _inputs(layout: Layout, channels: int, below: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(channels)
    taps = [3 if s == 1 else 2 for s in layout.stride]
    columns = layout.parities * channels

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    x = torch.zeros(*(n + 2 for n in layout.low), below)
    x[1:-1, 1:-1, 1:-1] = noise(*layout.low, below)
    return {
        "x": x,
        "weights": noise(columns, *taps, below) / (below * 8) ** 0.5,
        "skip": layout.rows(noise(*layout.fine, channels)),
        "scale": noise(channels).repeat(layout.parities),
        "shift": noise(channels).repeat(layout.parities),
        "embedding": noise(channels),
        "importance": noise(*layout.fine).abs().half(),
        "target": noise(*(n + 3 for n in layout.fine)).half(),
    }


def _chain(ops: TorchOps, layout: Layout, made: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Every operation once, each on what the one before gave."""
    rows, (total, squares) = ops.upconv(made["x"], made["weights"], made["skip"], layout)
    again: Any = ops.sums(rows)
    first = rows.clone()
    ops.normalise_(rows, made["scale"], made["shift"], 0.01, residual=made["skip"])
    second = rows.clone()
    ops.normalise_(second, made["scale"], made["shift"], 0.01)
    fz, fy, fx = layout.fine
    target = made["target"]
    ops.dot_accumulate(
        rows, made["scale"], made["shift"], 0.01, made["embedding"], layout, made["importance"],
        target[1 : 1 + fz, 2 : 2 + fy, 3 : 3 + fx],
    )  # fmt: skip
    return [first, total, squares, *again, rows, second, target]

"""Measurements on a card: whether a kernel agrees with its twin there, and how long a launch takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from voxtell_dicom.engine.fold import Layout
from voxtell_dicom.engine.kernels.tiles import DEFAULTS, Chosen, Kernel, Tile
from voxtell_dicom.engine.kernels.tune import Launch
from voxtell_dicom.engine.kernels.twin import Features, TorchOps
from voxtell_dicom.engine.statistics import InstanceNorm

_SLOPE = 0.01
_PROMPTS = 2
_WIDE = ("scale", "shift", "weight", "bias", "embedding", "importance", "target")  # float32, or float16 on every device
_BEST_OF = 3


@dataclass(frozen=True)
class _Case:
    """Small, but with strides of 1 and 2 above and below, broken tiles, and features of one prompt or of each."""

    layout: Layout
    below: Layout
    channels: int
    inputs: int
    features_of: int  # prompts


_CASES = (
    _Case(Layout((3, 5, 4), (2, 2, 2)), Layout((3, 5, 4), (1, 1, 1)), 12, 40, 1),
    _Case(Layout((3, 5, 4), (1, 2, 2)), Layout((3, 5, 2), (1, 1, 2)), 8, 16, _PROMPTS),
    _Case(Layout((4, 6, 4), (2, 2, 2)), Layout((2, 3, 2), (2, 2, 2)), 16, 16, _PROMPTS),
)
_LIKE_THE_NETWORK = _CASES[-1:]  # compiled as the network's launches are: a tile is not compiled for its test alone


@torch.inference_mode()
def difference(
    ops: TorchOps, device: torch.device, dtype: torch.dtype, only: Kernel | None = None, cases: Sequence[_Case] = _CASES
) -> float:
    """Return the largest relative difference of `ops` in `dtype` on `device` from the twin in float32 on the CPU."""
    worst = 0.0
    kernels = (only,) if only else tuple(Kernel)
    for case in cases:
        made = _inputs(case)
        reference = _outputs(TorchOps(), case, {k: v.clone() for k, v in made.items()}, kernels)
        moved = {k: v.to(device, v.dtype if k in _WIDE else dtype) for k, v in made.items()}
        for got, expected in zip(_outputs(ops, case, moved, kernels), reference, strict=True):
            scale = max(float(expected.abs().max()), 1e-6)
            off = float((got.cpu().double() - expected.double()).abs().max()) / scale
            worst = max(worst, off if off == off else float("inf"))  # not a number is as wrong as can be
    return worst


def _inputs(case: _Case) -> dict[str, torch.Tensor]:
    layout, channels = case.layout, case.channels
    generator = torch.Generator().manual_seed(channels)
    taps = [3 if s == 1 else 2 for s in layout.stride]
    columns = layout.parities * channels

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    def rows(count: int, of: Layout, width: int) -> torch.Tensor:
        return torch.stack([of.rows(noise(*of.fine, width)) for _ in range(count)])

    return {
        "x": rows(case.features_of, case.below, case.inputs),
        "weights": noise(_PROMPTS, columns, *taps, case.inputs) / (case.inputs * 8) ** 0.5,
        "skip": rows(1, layout, channels)[0],
        "rows": rows(_PROMPTS, layout, channels),
        "residual": rows(_PROMPTS, layout, channels),
        "scale": noise(_PROMPTS, channels).repeat(1, layout.parities),
        "shift": noise(_PROMPTS, channels).repeat(1, layout.parities),
        "weight": noise(channels),
        "bias": noise(channels),
        "embedding": noise(channels),
        "importance": noise(*layout.fine).abs().half(),
        "target": noise(*(n + 3 for n in layout.fine)).half(),
    }


def _outputs(
    ops: TorchOps, case: _Case, made: dict[str, torch.Tensor], kernels: Collection[Kernel]
) -> list[torch.Tensor]:
    """Return the outputs of each kernel."""
    layout, outputs = case.layout, []
    norm = InstanceNorm(made["weight"], made["bias"], 1e-5)
    fz, fy, fx = layout.fine
    rows, scale, shift = made["rows"], made["scale"], made["shift"]
    if Kernel.UPCONV in kernels:
        convolved, sums = ops.upconv(Features(made["x"], case.below), made["weights"], made["skip"], layout)
        outputs += [convolved, *ops.scale_and_shift(sums, norm, convolved, fz * fy * fx, layout)]
    if Kernel.DOT in kernels:
        ops.dot_accumulate(
            rows[1], scale[1], shift[1], _SLOPE, made["embedding"], layout, made["importance"],
            made["target"][1 : 1 + fz, 2 : 2 + fy, 3 : 3 + fx],
        )  # fmt: skip
        outputs.append(made["target"])
    if Kernel.NORMALISE in kernels:
        outputs += ops.scale_and_shift(ops.sums(rows), norm, rows, rows.shape[1])
        alone = rows.clone()
        ops.normalise_(alone, scale, shift, _SLOPE)
        ops.normalise_(rows, scale, shift, _SLOPE, residual=made["residual"])
        outputs += [alone, rows]
    return outputs


def ops_with(kernel: Kernel, tile: Tile) -> TorchOps:
    """Return the Triton kernels, one of them with this tile. Raises ImportError where Triton is not installed."""
    from voxtell_dicom.engine.kernels.triton_ops import TritonOps

    return TritonOps(Chosen(default={**DEFAULTS, kernel: tile}))


class Card:
    """A device with Triton, asked about tiles; implements `tune.Trial`."""

    def __init__(self, device: torch.device, dtype: torch.dtype = torch.float16) -> None:
        self._device = device
        self._dtype = dtype

    def difference(self, kernel: Kernel, tile: Tile) -> float:
        """Return the difference as `Trial.difference` defines it."""
        return difference(ops_with(kernel, tile), self._device, self._dtype, kernel, _LIKE_THE_NETWORK)

    @torch.inference_mode()
    def seconds(self, launch: Launch, tile: Tile) -> float:
        """Return the seconds of a launch; the best of three, after one that compiles."""
        run = self.prepared(launch)
        run(tile)
        best = float("inf")
        for _ in range(_BEST_OF):
            self._wait()
            start = time.perf_counter()
            run(tile)
            self._wait()
            best = min(best, time.perf_counter() - start)
        return best

    def prepared(self, launch: Launch) -> Callable[[Tile], Any]:
        """Return what runs the launch with a tile, on noise."""
        kernel, inputs, columns = launch.widths.kernel, launch.widths.inputs, launch.widths.outputs
        layout = Layout(launch.low, launch.stride)
        channels = columns // layout.parities
        count = torch.Size(layout.positions).numel()
        rows = self._noise(1, count, columns)
        scale, shift = (torch.ones(1, columns, device=self._device) for _ in range(2))
        if kernel is Kernel.UPCONV:
            low_z, low_y, low_x = (n // s for n, s in zip(launch.low, launch.below, strict=True))
            below = Layout((low_z, low_y, low_x), launch.below)
            x = Features(self._noise(1, torch.Size(below.positions).numel(), below.parities * inputs), below)
            weights = self._noise(1, columns, *(3 if s == 1 else 2 for s in launch.stride), inputs)
            return lambda tile: ops_with(kernel, tile).upconv(x, weights, rows[0], layout)
        if kernel is Kernel.NORMALISE:
            return lambda tile: ops_with(kernel, tile).normalise_(rows, scale, shift, _SLOPE)
        importance = torch.ones(layout.fine, dtype=torch.float16, device=self._device)
        target = torch.zeros_like(importance)
        embedding = torch.ones(channels, device=self._device)
        return lambda tile: ops_with(kernel, tile).dot_accumulate(
            rows[0], scale[0], shift[0], _SLOPE, embedding, layout, importance, target
        )

    def _noise(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, device=self._device, dtype=self._dtype)

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

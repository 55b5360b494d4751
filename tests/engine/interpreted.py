"""Checks under Triton's interpreter; `python -m tests.engine.interpreted` runs them and prints their results."""

from __future__ import annotations

import functools
import json
import sys
import time
from dataclasses import replace
from typing import Any

import torch

from tests.engine.pretend_cuda import interpret_quickly
from voxtell_dicom.engine.fast_decoder import launches
from voxtell_dicom.engine.forward import WindowModel
from voxtell_dicom.engine.kernels.selftest import Card, difference, ops_with
from voxtell_dicom.engine.kernels.tiles import DEFAULTS, Chosen, Kernel, Tile, candidates
from voxtell_dicom.engine.kernels.triton_ops import TritonOps
from voxtell_dicom.engine.kernels.tune import tune
from voxtell_dicom.engine.network import Sizes, VoxTellNetwork

CPU = torch.device("cpu")
PATCH = (8, 16, 16)
FEATURES = [8, 16, 24, 24]
STRIDES = [[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 2, 2]]
SIZES = Sizes(
    query_dim=48, transformer_layers=1, transformer_heads=8, transformer_ffn_dim=64, decoder_layer=2, mask_stages=3,
    mask_heads=8, mask_hidden_dim=64,
)  # fmt: skip


def small_network() -> VoxTellNetwork:
    """Return a network of four stages: what an interpreter can compute in a second."""
    from tests.oracles import engine_oracle as oracle

    torch.manual_seed(0)
    network = VoxTellNetwork(SIZES, oracle.arch_kwargs(FEATURES, [1, 1, 1, 1], STRIDES), PATCH)
    oracle.randomise(network, seed=2)
    return network.eval().requires_grad_(False)


def each_candidate() -> dict[str, float]:
    """Return by how much each differs from its twin, in float16. Warps and stages mean nothing to an interpreter."""

    @functools.cache
    def difference_of(kernel: Kernel, tile: Tile) -> float:
        return difference(ops_with(kernel, tile), CPU, torch.float16, kernel)

    return {
        f"{kernel} {tile}": difference_of(kernel, replace(tile, warps=4, stages=0))
        for kernel in Kernel
        for tile in candidates(kernel)
    }


def default_in_float32() -> float:
    """Return by how much the default tiles differ from the twins, in float32."""
    return difference(TritonOps(), CPU, torch.float32)


def windows() -> list[float]:
    """Return by how much a window's logits differ, in float32, with the settings at both ends of each list."""
    generator = torch.Generator().manual_seed(3)
    network = small_network()
    image, prompts = torch.randn(PATCH, generator=generator), torch.randn(1, 2560, generator=generator)
    found = []
    for end in (0, -1):
        ops = TritonOps(Chosen(default={kernel: candidates(kernel)[end] for kernel in Kernel}))
        sums = torch.zeros(1, *PATCH)
        with torch.inference_mode():
            list(WindowModel(network, CPU, ops=ops).accumulate(image, prompts, 0, torch.ones(PATCH), sums))
        found.append(sums)
    with torch.inference_mode():
        plain = WindowModel(network, CPU).logits(image, prompts)
        found.append(torch.cat([logits for _, logits in plain]))
    largest = float(found[-1].abs().max())
    return [float((found[0] - other).abs().max()) / largest for other in found[1:]]


def tuned() -> dict[str, Any]:
    """Return what tuning finds for two launches of the small network, one of its candidates spoilt."""
    chosen = [
        launch for launch in launches(small_network()) if launch.low == (4, 4, 4) and launch.widths.outputs == 128
    ]
    spoilt = Tile(128, 128, 64, 8, 3)

    class Spoilt(Card):
        def difference(self, kernel: Kernel, tile: Tile) -> float:
            return 0.5 if tile == spoilt else super().difference(kernel, tile)

    offered = {kernel: (DEFAULTS[kernel], spoilt) for kernel in Kernel}
    found = tune(chosen, lambda kernel: offered[kernel], Spoilt(CPU), time.monotonic)
    return {str(widths): str(tile) for widths, tile in found.items()}


if __name__ == "__main__":
    interpret_quickly()
    json.dump({work.__name__: work() for work in (each_candidate, default_in_float32, windows, tuned)}, sys.stdout)

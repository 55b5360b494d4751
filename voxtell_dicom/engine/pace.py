"""How long a window takes on this machine's CPU, before one has been computed there: arithmetic over a measured speed.

Used where a GPU has run short: is the CPU worth a try within the time that is left? The estimate is coarse (within a
factor of two on the machines tried); the first windows then say how long they really take.
"""

from __future__ import annotations

import math
import time

import torch
from torch import nn

from voxtell_dicom.engine.network import VoxTellNetwork
from voxtell_dicom.engine.network.encoder import stage_shapes

_SHARE_OF_MATMUL = 0.6  # of a matrix product's speed that a whole window reaches
_SIZE = 1024  # of the matrix product that is timed


def cpu_seconds_per_window(network: VoxTellNetwork, prompts: int) -> float:
    """What a window with so many prompts will take on this CPU, about."""
    return window_macs(network, prompts) / (_SHARE_OF_MATMUL * _macs_per_second())


def window_macs(network: VoxTellNetwork, prompts: int) -> float:
    """Multiplications of a window the fast way: what no prompt changes once, the folded rest once for each prompt."""
    shapes = stage_shapes(network.encoder, network.patch_size)
    voxels = [math.prod(shape) for shape in shapes]
    stem = network.encoder.stem
    once = _weights(stem) * voxels[0] if stem is not None else 0
    once += sum(_weights(stage) * n for stage, n in zip(network.encoder.stages, voxels, strict=True))
    each = 0
    decoder, heads = network.decoder, network.sizes.mask_heads
    count = len(decoder.stages)
    for i, (up, stage) in enumerate(zip(decoder.transpconvs, decoder.stages, strict=True)):
        fine, half = voxels[count - 1 - i], _weights(stage) // 2  # of concat(up, skip)
        once += half * fine
        weight: torch.Tensor = up.weight  # type: ignore[assignment]
        if i == 0:  # the lowest stage sees no prompt
            once += half * fine + weight.numel() * voxels[count]
            continue
        taps = math.prod(2 if s == 2 else 3 for s in weight.shape[2:])  # see `fold`
        each += taps * (weight.shape[0] - heads) * weight.shape[1] * fine
    return float(once + prompts * each)


def _weights(module: nn.Module) -> int:
    return sum(m.weight.numel() for m in module.modules() if isinstance(m, nn.Conv3d))


def _macs_per_second() -> float:
    a, b = torch.ones(_SIZE, _SIZE), torch.ones(_SIZE, _SIZE)
    best = math.inf
    for _ in range(4):
        start = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - start)
    return _SIZE**3 / best

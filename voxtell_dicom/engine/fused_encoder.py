"""The image encoder in channels-last, norm, activation and residual in one pass: for CUDA, where layout decides."""

from __future__ import annotations

from typing import Any

import torch
from dynamic_network_architectures.building_blocks.residual import BasicBlockD
from torch import nn

from voxtell_dicom.engine.cpu import conv3d
from voxtell_dicom.engine.kernels.twin import TorchOps
from voxtell_dicom.engine.statistics import InstanceNorm

_NO_ACTIVATION = 1.0  # the slope of a leaky ReLU that does nothing


class FusedEncoder:
    """nnU-Net's residual encoder, computed by `TorchOps` or its Triton twin."""

    def __init__(self, encoder: nn.Module, dtype: torch.dtype, ops: TorchOps) -> None:
        """encoder: with its weights, on its device; `can_be_fused`."""
        self._encoder: Any = encoder
        self._dtype = dtype
        self._ops = ops
        self._weights: dict[int, torch.Tensor] = {}

    def __call__(self, image: torch.Tensor) -> list[torch.Tensor]:
        """image: (1, 1, z, y, x). Returns the features of every stage, channels-last, full resolution first."""
        x = image.to(self._dtype)
        for block in self._encoder.stem.convs:
            x = self._block(block, x)
        skips = []
        for stage in self._encoder.stages:
            for block in stage.blocks:
                x = self._residual_block(block, x)
            skips.append(x)
        return skips

    def _residual_block(self, block: Any, x: torch.Tensor) -> torch.Tensor:
        residual = x
        for part in block.skip if isinstance(block.skip, nn.Sequential) else ():
            residual = part(residual) if isinstance(part, nn.AvgPool3d) else self._block(part, residual)
        out = self._block(block.conv1, x)
        return self._block(block.conv2, out, residual, block.nonlin2.negative_slope)

    def _block(
        self, block: Any, x: torch.Tensor, residual: torch.Tensor | None = None, slope: float | None = None
    ) -> torch.Tensor:
        conv, norm = block.conv, block.norm
        if slope is None:
            slope = block.nonlin.negative_slope if hasattr(block, "nonlin") else _NO_ACTIVATION
        bias = None if conv.bias is None else conv.bias.to(self._dtype)
        out = conv3d(x, self._weight(conv), bias, padding=conv.padding, stride=conv.stride)
        out = out.contiguous(memory_format=torch.channels_last_3d)
        rows = _rows(out)
        measured = InstanceNorm(norm.weight, norm.bias, norm.eps)
        scale, shift = self._ops.scale_and_shift(self._ops.sums(rows), measured, rows, rows.shape[1])
        self._ops.normalise_(rows, scale, shift, slope, None if residual is None else _rows(residual))
        return out

    def _weight(self, conv: nn.Conv3d) -> torch.Tensor:
        key = id(conv)
        if key not in self._weights:
            self._weights[key] = conv.weight.to(self._dtype).contiguous(memory_format=torch.channels_last_3d)
        return self._weights[key]


def _rows(x: torch.Tensor) -> torch.Tensor:
    """(1, C, z, y, x), channels-last, as (1, voxels, C): a view."""
    last = x.contiguous(memory_format=torch.channels_last_3d).permute(0, 2, 3, 4, 1)
    return last.reshape(1, -1, x.shape[1])


def can_be_fused(encoder: nn.Module) -> bool:
    """Whether it is built as v1.1's: basic residual blocks, affine instance norm, leaky ReLU, nothing dropped."""
    whole: Any = encoder
    if whole.stem is None:
        return False
    blocks = [block for stage in whole.stages for block in getattr(stage, "blocks", [None])]
    if not all(type(b) is BasicBlockD and not b.apply_se and not b.apply_stochastic_depth for b in blocks):
        return False
    parts = [m for m in encoder.modules() if hasattr(m, "all_modules")]
    return all(
        [type(x) for x in part.all_modules][:2] == [nn.Conv3d, nn.InstanceNorm3d]  # type: ignore[union-attr]
        and len(part.all_modules) <= 3  # type: ignore[arg-type]
        and part.norm.affine  # type: ignore[union-attr]
        and (len(part.all_modules) == 2 or isinstance(part.nonlin, nn.LeakyReLU))  # type: ignore[arg-type]
        for part in parts
    )

"""Convolutions on a CPU, always through oneDNN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

_HAS_ONEDNN = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
_TYPES = (torch.float32, torch.bfloat16)


def conv3d(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    padding: Sequence[int] = (0, 0, 0),
    stride: Sequence[int] = (1, 1, 1),
) -> torch.Tensor:
    """torch.nn.functional.conv3d (no dilation, no groups), inference only, oneDNN on a CPU that has it.

    torch itself takes a slow path, 3 to 4 times slower, where the input has few rows.
    """
    if x.device.type == "cpu" and x.dtype == weight.dtype and x.dtype in _TYPES and _HAS_ONEDNN:
        result: torch.Tensor = torch.mkldnn_convolution(x, weight, bias, list(padding), list(stride), [1, 1, 1], 1)
        return result
    return F.conv3d(x, weight, bias, tuple(stride), tuple(padding))


class DirectConv3d(nn.Conv3d):
    """A Conv3d whose inference forward goes through `conv3d`."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """input: (batch, C, z, y, x)."""
        padding: Any = self.padding
        return conv3d(input, self.weight, self.bias, padding=padding, stride=self.stride)


def use_direct_convolutions(module: nn.Module) -> None:
    """Let every plain Conv3d in `module` go through `conv3d`: for inference on a CPU."""
    for child in module.modules():
        if type(child) is nn.Conv3d and child.groups == 1 and set(child.dilation) == {1}:
            child.__class__ = DirectConv3d

"""Convolutions on a CPU, always through oneDNN."""

from __future__ import annotations

from collections.abc import Sequence

import torch
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


def computes_bfloat16() -> bool:
    """Whether this CPU convolves in bfloat16: oneDNN refuses where it has no instructions for that."""
    tiny = torch.ones(1, 16, 2, 2, 2, dtype=torch.bfloat16)
    try:
        conv3d(tiny, torch.ones(16, 16, 1, 1, 1, dtype=torch.bfloat16))
    except RuntimeError:
        return False
    return True

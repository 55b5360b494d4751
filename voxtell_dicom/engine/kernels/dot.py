"""Triton: normalise, activate, dot with the mask embedding, weigh and add to the sums, in one pass over the features.

Neither the normalised map nor the logits of a window are ever stored.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from voxtell_dicom.engine.fold import Layout
from voxtell_dicom.engine.kernels.tiles import Tile


@triton.jit(do_not_specialize=("count", "py", "px"))  # type: ignore[untyped-decorator]
def _dot_accumulate(  # type: ignore[no-untyped-def]
    rows_ptr, scale_ptr, shift_ptr, embedding_ptr, importance_ptr, target_ptr,
    slope, count, channels, py, px, fz, fy, fx,
    target_z, target_y,
    SZ: tl.constexpr, SY: tl.constexpr, SX: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    parity = tl.program_id(1)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    channel = tl.arange(0, CHANNELS)
    is_channel = channel < channels
    at = row.to(tl.int64)[:, None] * (channels * SZ * SY * SX) + (parity * channels + channel)[None, :]
    value = tl.load(rows_ptr + at, mask=(row < count)[:, None] & is_channel[None, :], other=0.0).to(tl.float32)
    scale = tl.load(scale_ptr + channel, mask=is_channel, other=0.0)  # the same at every parity
    shift = tl.load(shift_ptr + channel, mask=is_channel, other=0.0)
    value = value * scale[None, :] + shift[None, :]
    value = tl.where(value > 0, value, value * slope)
    logit = tl.sum(value * tl.load(embedding_ptr + channel, mask=is_channel, other=0.0)[None, :], 1)
    z = (row // (py * px)) * SZ + parity // (SY * SX) - (SZ - 1)
    y = ((row // px) % py) * SY + (parity // SX) % SY - (SY - 1)
    x = (row % px) * SX + parity % SX - (SX - 1)
    inside = (row < count) & (z >= 0) & (z < fz) & (y >= 0) & (y < fy) & (x >= 0) & (x < fx)
    weight = tl.load(importance_ptr + (z * fy + y) * fx + x, mask=inside, other=0.0).to(tl.float32)
    to = target_ptr + z.to(tl.int64) * target_z + y.to(tl.int64) * target_y + x
    before = tl.load(to, mask=inside, other=0.0).to(tl.float32)
    tl.store(to, (before + logit * weight).to(target_ptr.dtype.element_ty), mask=inside)


def dot_accumulate(
    rows: torch.Tensor,
    scale: torch.Tensor,
    shift: torch.Tensor,
    slope: float,
    embedding: torch.Tensor,
    layout: Layout,
    importance: torch.Tensor,
    target: torch.Tensor,
    tile: Tile,
) -> None:
    """As `TorchOps.dot_accumulate`. target: a view whose last axis is contiguous."""
    channels = embedding.shape[0]
    if target.stride(2) != 1:
        raise ValueError("the sums must be contiguous along x")
    _dot_accumulate[(triton.cdiv(rows.shape[0], tile.rows), layout.parities)](
        rows, scale, shift, embedding.float().contiguous(), importance, target, slope, rows.shape[0], channels,
        *layout.positions[1:], *layout.fine, target.stride(0), target.stride(1), *layout.stride,
        ROWS=tile.rows, CHANNELS=triton.next_power_of_2(channels), num_warps=tile.warps,
    )  # fmt: skip

"""Triton: InstanceNorm + LeakyReLU (+ residual) in channels-last: the sums, what follows from them, and one to apply.

torch's InstanceNorm3d falls back to the contiguous layout, which costs more than channels-last gains (pytorch#59168).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from voxtell_dicom.engine.kernels.tiles import Tile
from voxtell_dicom.engine.kernels.twin import Sums
from voxtell_dicom.engine.statistics import InstanceNorm

TILES = 256  # whose sums are added at a time


@triton.jit(do_not_specialize=("count", "tiles"))  # type: ignore[untyped-decorator]
def _sums(  # type: ignore[no-untyped-def]
    rows_ptr, sum_ptr, square_ptr, count, columns, tiles,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    tile = tl.program_id(0)
    prompt = tl.program_id(2).to(tl.int64)
    row = tile * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    bounds = (row < count)[:, None] & (column < columns)[None, :]
    at = (prompt * count + row)[:, None] * columns + column[None, :]
    value = tl.load(rows_ptr + at, mask=bounds, other=0.0).to(tl.float32)
    part = (prompt * tiles + tile) * columns + column
    tl.store(sum_ptr + part, tl.sum(value, 0), mask=column < columns)
    tl.store(square_ptr + part, tl.sum(value * value, 0), mask=column < columns)


@triton.jit(do_not_specialize=("count", "tiles"))  # type: ignore[untyped-decorator]
def _scale_and_shift(  # type: ignore[no-untyped-def]
    sum_ptr, square_ptr, weight_ptr, bias_ptr, scale_ptr, shift_ptr, eps, count, tiles, channels,
    PARITIES: tl.constexpr, TILES: tl.constexpr,
):  # fmt: skip
    channel = tl.program_id(0)
    prompt = tl.program_id(1).to(tl.int64)
    column = tl.arange(0, PARITIES) * channels + channel
    total = tl.zeros((TILES, PARITIES), dtype=tl.float64)
    squares = tl.zeros((TILES, PARITIES), dtype=tl.float64)
    for first in range(0, tiles, TILES):
        tile = first + tl.arange(0, TILES)
        at = (prompt * tiles + tile)[:, None] * (PARITIES * channels) + column[None, :]
        total += tl.load(sum_ptr + at, mask=(tile < tiles)[:, None], other=0.0).to(tl.float64)
        squares += tl.load(square_ptr + at, mask=(tile < tiles)[:, None], other=0.0).to(tl.float64)
    mean = tl.sum(tl.sum(total, 1), 0) / count
    variance = tl.maximum(tl.sum(tl.sum(squares, 1), 0) / count - mean * mean, 0.0)
    scale = tl.load(weight_ptr + channel).to(tl.float64) / tl.sqrt(variance + eps)
    shift = tl.load(bias_ptr + channel).to(tl.float64) - mean * scale
    to = prompt * (PARITIES * channels) + column
    tl.store(scale_ptr + to, tl.zeros((PARITIES,), dtype=tl.float32) + scale.to(tl.float32))
    tl.store(shift_ptr + to, tl.zeros((PARITIES,), dtype=tl.float32) + shift.to(tl.float32))


@triton.jit(do_not_specialize=("count",))  # type: ignore[untyped-decorator]
def _normalise(  # type: ignore[no-untyped-def]
    rows_ptr, residual_ptr, scale_ptr, shift_ptr, slope, count, columns,
    RESIDUAL: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    prompt = tl.program_id(2).to(tl.int64)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    is_column = column < columns
    bounds = (row < count)[:, None] & is_column[None, :]
    at = (prompt * count + row)[:, None] * columns + column[None, :]
    scale = tl.load(scale_ptr + prompt * columns + column, mask=is_column, other=0.0)
    shift = tl.load(shift_ptr + prompt * columns + column, mask=is_column, other=0.0)
    value = tl.load(rows_ptr + at, mask=bounds, other=0.0).to(tl.float32) * scale[None, :] + shift[None, :]
    if RESIDUAL:
        value += tl.load(residual_ptr + at, mask=bounds, other=0.0).to(tl.float32)
    value = tl.where(value > 0, value, value * slope)
    tl.store(rows_ptr + at, value.to(rows_ptr.dtype.element_ty), mask=bounds)


def sums(rows: torch.Tensor, tile: Tile) -> Sums:
    """Return the sums as `TorchOps.sums` does; those of each tile, (prompts, tiles, columns), float32."""
    prompts, count, columns = rows.shape
    tiles = triton.cdiv(count, tile.rows)
    total, squares = (torch.empty(prompts, tiles, columns, device=rows.device) for _ in range(2))
    _sums[(tiles, triton.cdiv(columns, tile.columns), prompts)](
        rows, total, squares, count, columns, tiles, ROWS=tile.rows, COLUMNS=tile.columns, num_warps=tile.warps
    )
    return total, squares


def scale_and_shift(sums: Sums, norm: InstanceNorm, count: int) -> Sums:
    """Return scale and shift as the twin does, in one launch. Tiles are added in float64: each run gives the same."""
    prompts, tiles, columns = sums[0].shape
    channels = norm.weight.shape[0]
    scale, shift = (torch.empty(prompts, columns, device=sums[0].device) for _ in range(2))
    _scale_and_shift[(channels, prompts)](
        *sums, norm.weight, norm.bias, scale, shift, norm.eps, count, tiles, channels,
        PARITIES=columns // channels, TILES=TILES,
    )  # fmt: skip
    return scale, shift


def normalise_(
    rows: torch.Tensor,
    scale: torch.Tensor,
    shift: torch.Tensor,
    slope: float,
    residual: torch.Tensor | None,
    tile: Tile,
) -> None:
    """As `TorchOps.normalise_`."""
    prompts, count, columns = rows.shape
    _normalise[(triton.cdiv(count, tile.rows), triton.cdiv(columns, tile.columns), prompts)](
        rows, rows if residual is None else residual, scale, shift, slope, count, columns,
        RESIDUAL=residual is not None, ROWS=tile.rows, COLUMNS=tile.columns, num_warps=tile.warps,
    )  # fmt: skip

"""Triton: InstanceNorm + LeakyReLU (+ residual) in channels-last, one pass for the sums and one to apply.

torch's InstanceNorm3d falls back to the contiguous layout, which costs more than channels-last gains (pytorch#59168).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from voxtell_dicom.engine.kernels.twin import Sums

_ROWS, _COLUMNS = 128, 32


@triton.jit  # type: ignore[untyped-decorator]
def _sums(  # type: ignore[no-untyped-def]
    rows_ptr, sum_ptr, square_ptr, count, columns,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    tile = tl.program_id(0)
    row = tile * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    bounds = (row < count)[:, None] & (column < columns)[None, :]
    value = tl.load(rows_ptr + row.to(tl.int64)[:, None] * columns + column[None, :], mask=bounds, other=0.0)
    value = value.to(tl.float32)
    tl.store(sum_ptr + tile * columns + column, tl.sum(value, 0), mask=column < columns)
    tl.store(square_ptr + tile * columns + column, tl.sum(value * value, 0), mask=column < columns)


@triton.jit  # type: ignore[untyped-decorator]
def _normalise(  # type: ignore[no-untyped-def]
    rows_ptr, residual_ptr, scale_ptr, shift_ptr, slope, count, columns,
    RESIDUAL: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    is_column = column < columns
    bounds = (row < count)[:, None] & is_column[None, :]
    at = row.to(tl.int64)[:, None] * columns + column[None, :]
    scale = tl.load(scale_ptr + column, mask=is_column, other=0.0)
    shift = tl.load(shift_ptr + column, mask=is_column, other=0.0)
    value = tl.load(rows_ptr + at, mask=bounds, other=0.0).to(tl.float32) * scale[None, :] + shift[None, :]
    if RESIDUAL:
        value += tl.load(residual_ptr + at, mask=bounds, other=0.0).to(tl.float32)
    value = tl.where(value > 0, value, value * slope)
    tl.store(rows_ptr + at, value.to(rows_ptr.dtype.element_ty), mask=bounds)


def sums(rows: torch.Tensor) -> Sums:
    """As `TorchOps.sums`."""
    count, columns = rows.shape
    tiles = triton.cdiv(count, _ROWS)
    total, squares = (torch.empty(tiles, columns, device=rows.device) for _ in range(2))
    _sums[(tiles, triton.cdiv(columns, _COLUMNS))](rows, total, squares, count, columns, ROWS=_ROWS, COLUMNS=_COLUMNS)
    return total.sum(0, dtype=torch.float64), squares.sum(0, dtype=torch.float64)


def normalise_(
    rows: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, slope: float, residual: torch.Tensor | None = None
) -> None:
    """As `TorchOps.normalise_`."""
    count, columns = rows.shape
    _normalise[(triton.cdiv(count, _ROWS), triton.cdiv(columns, _COLUMNS))](
        rows, rows if residual is None else residual, scale, shift, slope, count, columns,
        RESIDUAL=residual is not None, ROWS=_ROWS, COLUMNS=_COLUMNS,
    )  # fmt: skip

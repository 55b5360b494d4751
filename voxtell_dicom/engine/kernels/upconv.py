"""Triton: the folded up-convolution as an implicit GEMM; its epilogue adds the skip half and gathers the statistics."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from voxtell_dicom.engine.fold import Layout
from voxtell_dicom.engine.kernels.twin import Sums

_ROWS, _COLUMNS, _DEPTH = 64, 64, 32  # of a tile


@triton.jit  # type: ignore[untyped-decorator]
def _upconv(  # type: ignore[no-untyped-def]
    x_ptr, w_ptr, skip_ptr, out_ptr, sum_ptr, square_ptr,
    count, columns, channels, c_in,
    pz, py, px, y_size, x_size,
    SZ: tl.constexpr, SY: tl.constexpr, SX: tl.constexpr, TZ: tl.constexpr, TY: tl.constexpr, TX: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    tile = tl.program_id(0)
    row = tile * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    is_row, is_column = row < count, column < columns
    z, y, x = row // (py * px), (row // px) % py, row % px
    sum_ = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    for tap in range(TZ * TY * TX):
        voxel = ((z + tap // (TY * TX)) * y_size + y + (tap // TX) % TY) * x_size + x + tap % TX
        for first in range(0, c_in, DEPTH):
            k = first + tl.arange(0, DEPTH)
            a = tl.load(
                x_ptr + voxel.to(tl.int64)[:, None] * c_in + k[None, :],
                mask=is_row[:, None] & (k < c_in)[None, :],
                other=0.0,
            )
            b = tl.load(
                w_ptr + (column * (TZ * TY * TX) + tap)[None, :] * c_in + k[:, None],
                mask=is_column[None, :] & (k < c_in)[:, None],
                other=0.0,
            )
            sum_ = tl.dot(a, b, sum_, input_precision="ieee")
    parity = column // channels
    qz, qy, qx = parity // (SY * SX), (parity // SX) % SY, parity % SX
    inside = is_row[:, None] & is_column[None, :]
    if SZ == 2:  # parity 0 of the first position and parity 1 of the last lie outside the fine grid
        inside &= ~(((z == 0)[:, None] & (qz == 0)[None, :]) | ((z == pz - 1)[:, None] & (qz == 1)[None, :]))
    if SY == 2:
        inside &= ~(((y == 0)[:, None] & (qy == 0)[None, :]) | ((y == py - 1)[:, None] & (qy == 1)[None, :]))
    if SX == 2:
        inside &= ~(((x == 0)[:, None] & (qx == 0)[None, :]) | ((x == px - 1)[:, None] & (qx == 1)[None, :]))
    at = row.to(tl.int64)[:, None] * columns + column[None, :]
    bounds = is_row[:, None] & is_column[None, :]
    value = tl.where(inside, sum_ + tl.load(skip_ptr + at, mask=bounds, other=0.0).to(tl.float32), 0.0)
    stored = value.to(out_ptr.dtype.element_ty)
    tl.store(out_ptr + at, stored, mask=bounds)
    value = stored.to(tl.float32)  # the statistics of what was stored, as the twin takes them
    tl.store(sum_ptr + tile * columns + column, tl.sum(value, 0), mask=is_column)
    tl.store(square_ptr + tile * columns + column, tl.sum(value * value, 0), mask=is_column)


def upconv(x: torch.Tensor, weights: torch.Tensor, skip: torch.Tensor, layout: Layout) -> tuple[torch.Tensor, Sums]:
    """As `TorchOps.upconv`. Sums are gathered per tile and added in float64: the same result at every run."""
    count, columns = skip.shape
    rows = torch.empty_like(skip)
    tiles = triton.cdiv(count, _ROWS)
    sums, squares = (torch.empty(tiles, columns, device=x.device) for _ in range(2))
    _upconv[(tiles, triton.cdiv(columns, _COLUMNS))](
        x, weights, skip, rows, sums, squares, count, columns, columns // layout.parities, x.shape[3],
        *layout.positions, x.shape[1], x.shape[2], *layout.stride, *weights.shape[1:4],
        ROWS=_ROWS, COLUMNS=_COLUMNS, DEPTH=_DEPTH,
    )  # fmt: skip
    return rows, (sums.sum(0, dtype=torch.float64), squares.sum(0, dtype=torch.float64))

"""Triton: the folded up-convolution as an implicit GEMM; its epilogue adds the skip half and gathers the statistics.

The features of the stage below are read where they lie, out of its rows, with masks for their border; a padded copy is
made only where a tile asks for one.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from voxtell_dicom.engine.fold import Layout
from voxtell_dicom.engine.kernels.tiles import Tile
from voxtell_dicom.engine.kernels.twin import Features, Sums


# Sizes of grids are not specialised: one compilation serves all stages.
@triton.jit(do_not_specialize=("count", "tiles", "pz", "py", "px", "z_size", "y_size", "x_size"))  # type: ignore[untyped-decorator]
def _upconv(  # type: ignore[no-untyped-def]
    x_ptr, w_ptr, skip_ptr, out_ptr, sum_ptr, square_ptr,
    count, columns, channels, c_in, x_prompt, tiles,
    pz, py, px, z_size, y_size, x_size,
    SZ: tl.constexpr, SY: tl.constexpr, SX: tl.constexpr, TZ: tl.constexpr, TY: tl.constexpr, TX: tl.constexpr,
    BZ: tl.constexpr, BY: tl.constexpr, BX: tl.constexpr, PADDED: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    # Column blocks of one row tile run one after the other: what they share of x is still in the cache.
    blocks = tl.cdiv(columns, COLUMNS)
    tile = tl.program_id(0) // blocks
    prompt = tl.program_id(1).to(tl.int64)
    row = tile * ROWS + tl.arange(0, ROWS)
    column = (tl.program_id(0) % blocks) * COLUMNS + tl.arange(0, COLUMNS)
    is_row, is_column = row < count, column < columns
    z, y, x = row // (py * px), (row // px) % py, row % px
    x_ptr += prompt * x_prompt
    w_ptr += prompt * columns * (TZ * TY * TX) * c_in
    sum_ = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    steps = tl.cdiv(c_in, DEPTH)
    for step in range(TZ * TY * TX * steps):  # one loop over taps and channels, so that loads run ahead across taps
        tap = step // steps
        k = (step % steps) * DEPTH + tl.arange(0, DEPTH)
        vz, vy, vx = z + tap // (TY * TX), y + (tap // TX) % TY, x + tap % TX  # on the padded low grid
        there = is_row
        if PADDED:
            voxel = ((vz * (y_size + 2) + vy) * (x_size + 2) + vx).to(tl.int64) * c_in
        else:
            there &= (vz > 0) & (vz <= z_size) & (vy > 0) & (vy <= y_size) & (vx > 0) & (vx <= x_size)
            # Voxel v - 1 of the low grid is parity (v - 2 + stride) % stride of position (v - 2 + stride) // stride.
            vz, vy, vx = vz + (BZ - 2), vy + (BY - 2), vx + (BX - 2)
            position = ((vz // BZ) * (y_size // BY + BY - 1) + vy // BY) * (x_size // BX + BX - 1) + vx // BX
            parity_below = ((vz % BZ) * BY + vy % BY) * BX + vx % BX
            voxel = (position.to(tl.int64) * (BZ * BY * BX) + parity_below) * c_in
        a = tl.load(x_ptr + voxel[:, None] + k[None, :], mask=there[:, None] & (k < c_in)[None, :], other=0.0)
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
    tl.store(out_ptr + prompt * count * columns + at, stored, mask=bounds)
    value = stored.to(tl.float32)  # the statistics of what was stored, as the twin takes them
    part = (prompt * tiles + tile) * columns + column
    tl.store(sum_ptr + part, tl.sum(value, 0), mask=is_column)
    tl.store(square_ptr + part, tl.sum(value * value, 0), mask=is_column)


def upconv(
    x: Features, weights: torch.Tensor, skip: torch.Tensor, layout: Layout, tile: Tile
) -> tuple[torch.Tensor, Sums]:
    """Return what `TorchOps.upconv` returns; the sums are those of each tile, (prompts, tiles, columns), float32."""
    count, columns = skip.shape
    prompts, c_in = weights.shape[0], weights.shape[-1]
    rows = skip.new_empty(prompts, count, columns)
    tiles = triton.cdiv(count, tile.rows)
    sums, squares = (torch.empty(prompts, tiles, columns, device=skip.device) for _ in range(2))
    below = x.padded() if tile.padded else x.rows
    _upconv[(tiles * triton.cdiv(columns, tile.columns), prompts)](
        below, weights, skip, rows, sums, squares, count, columns, columns // layout.parities, c_in,
        0 if below.shape[0] == 1 else below[0].numel(), tiles,
        *layout.positions, *layout.low, *layout.stride, *weights.shape[2:5], *x.layout.stride, tile.padded,
        ROWS=tile.rows, COLUMNS=tile.columns, DEPTH=tile.depth, num_warps=tile.warps, num_stages=tile.stages,
    )  # fmt: skip
    return rows, (sums, squares)

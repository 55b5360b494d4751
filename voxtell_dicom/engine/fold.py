"""A transposed convolution followed by a 3³ convolution, as one convolution at the low resolution.

Along an axis of stride 2, a voxel of the fine grid sees, through kernel 3 and then kernel 2, just two voxels of the low
grid. So the pair is one convolution with 2 taps whose output channels hold both fine voxels ("parities"), over n + 1
positions: position j and parity q make the fine voxel 2j + q - 1, and the first and the last are outside. That "+ 1"
makes the interleaved result exactly the fine grid with a border of one voxel, as the next stage wants it. Along an axis
of stride 1 it is an ordinary convolution with 3 taps. 58 k → 16 k multiplications per voxel at the top stage.

Feature maps here are channels-last: (z, y, x, channel). "Rows" are the folded convolution's output: (positions z, y, x,
parities z, y, x, channel), contiguous.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch

Triple = tuple[int, int, int]


def _axis(stride: int) -> list[tuple[int, int, int, int]]:
    """(sub-voxel of the transposed convolution, tap of the 3³ one, parity, tap at the low resolution) along an axis."""
    if stride == 1:
        return [(0, tap, 0, tap) for tap in range(3)]
    routes = []
    for parity, tap in itertools.product(range(2), range(3)):
        low, sub = divmod(parity + tap - 1, 2)
        routes.append((sub, tap, 1 - parity, low + 1 - parity))  # parities reversed: see the module's text
    return routes


def fold_weights(up: torch.Tensor, conv: torch.Tensor, stride: Triple) -> torch.Tensor:
    """up: (C_in, C_mid, *stride), of the transposed convolution; conv: (C_out, C_mid, 3, 3, 3).

    Returns (parities z, y, x, C_out, taps z, y, x, C_in), float32, contiguous.
    """
    parities = list(stride)
    taps = [3 if s == 1 else 2 for s in stride]
    folded = torch.zeros(*parities, conv.shape[0], *taps, up.shape[0], device=up.device)
    for z, y, x in itertools.product(*(_axis(s) for s in stride)):
        inner = up[:, :, z[0], y[0], x[0]].float()
        outer = conv[:, :, z[1], y[1], x[1]].float()
        folded[z[2], y[2], x[2], :, z[3], y[3], x[3], :] += outer @ inner.T
    return folded


def fold_bias(up_bias: torch.Tensor, conv: torch.Tensor) -> torch.Tensor:
    """What the transposed convolution's bias adds after the 3³ convolution: (C_out, 4, 4, 4), see `add_bias`.

    It is one value per channel, but for the outermost voxels, whose 3³ neighbourhood is not whole: along each axis the
    first, those between, the last, and one that is both first and last.
    """
    there = torch.tensor([[0, 1, 1], [1, 1, 1], [1, 1, 0], [0, 1, 0]], dtype=torch.float32, device=conv.device)
    weight = torch.einsum("omzyx,m->ozyx", conv.float(), up_bias.float())
    return torch.einsum("ozyx,az,by,cx->oabc", weight, there, there, there)


def add_bias(maps: torch.Tensor, table: torch.Tensor) -> None:
    """maps: (C_out, z, y, x), += the table that `fold_bias` gave."""
    for parts in itertools.product(*(_parts(size) for size in maps.shape[1:])):
        kinds, voxels = zip(*parts, strict=True)
        maps[(slice(None), *voxels)] += table[(slice(None), *(slice(kind, kind + 1) for kind in kinds))]


def _parts(size: int) -> list[tuple[int, slice]]:
    """The voxels along an axis by their place in the table of `fold_bias`."""
    if size == 1:
        return [(3, slice(None))]
    return [(0, slice(0, 1)), (1, slice(1, -1)), (2, slice(-1, None))][:: 2 if size == 2 else 1]


@dataclass(frozen=True)
class Layout:
    """How rows lie on the fine grid of a stage."""

    low: Triple  # shape of the low grid
    stride: Triple

    @property
    def fine(self) -> Triple:
        """Shape of the fine grid."""
        z, y, x = (n * s for n, s in zip(self.low, self.stride, strict=True))
        return z, y, x

    @property
    def positions(self) -> Triple:
        """Positions of the folded convolution."""
        z, y, x = (n + s - 1 for n, s in zip(self.low, self.stride, strict=True))
        return z, y, x

    @property
    def parities(self) -> int:
        """Fine voxels per position."""
        return math.prod(self.stride)

    def rows(self, fine: torch.Tensor) -> torch.Tensor:
        """fine: (z, y, x, C). Returns it as rows (positions, parities · C), 0 outside the fine grid."""
        rows = fine.new_empty(*self.positions, *self.stride, fine.shape[3])
        for parity in itertools.product(*map(range, self.stride)):
            places, voxels = zip(*map(_axis_slices, self.low, self.stride, parity), strict=True)
            rows[(*places, *parity)] = fine[voxels]
        rows = rows.view(math.prod(self.positions), -1)
        self.clear_outside(rows)
        return rows

    def interleave(self, rows: torch.Tensor) -> torch.Tensor:
        """rows: (positions, parities · C). Returns a view (z, y, x, C); along axes of stride 2 with a border of one."""
        channels = rows.shape[1] // self.parities
        split = rows.view(*self.positions, *self.stride, channels).permute(0, 3, 1, 4, 2, 5, 6)
        return split.reshape(*(p * s for p, s in zip(self.positions, self.stride, strict=True)), channels)

    def inside(self, interleaved: torch.Tensor) -> torch.Tensor:
        """The fine grid's part of an `interleave`d array, a view."""
        z, y, x = (slice(s - 1, s - 1 + f) for s, f in zip(self.stride, self.fine, strict=True))
        return interleaved[z, y, x]

    def padded(self, rows: torch.Tensor) -> torch.Tensor:
        """rows as the fine grid with a border of one voxel of 0 all round: (z + 2, y + 2, x + 2, C)."""
        z, y, x = self.fine
        target = rows.new_empty(z + 2, y + 2, x + 2, rows.shape[1] // self.parities)
        inner = target[tuple(slice(2 - s, n + s) for s, n in zip(self.stride, self.fine, strict=True))]
        shape = itertools.chain.from_iterable(zip(self.positions, self.stride, strict=True))
        source = rows.view(*self.positions, *self.stride, -1).permute(0, 3, 1, 4, 2, 5, 6)
        _split(inner, list(shape)).copy_(source)
        for axis in range(3):
            target.select(axis, 0).zero_()
            target.select(axis, target.shape[axis] - 1).zero_()
        return target

    def clear_outside(self, rows: torch.Tensor) -> None:
        """Set to 0 what lies outside the fine grid."""
        split = rows.view(*self.positions, *self.stride, -1)
        for axis, stride in enumerate(self.stride):
            if stride == 2:
                first = split.select(axis, 0)  # parity 0 of the first position is fine voxel -1
                first.select(axis + 2, 0).zero_()
                split.select(axis, split.shape[axis] - 1).select(axis + 2, 1).zero_()

    @property
    def is_inside(self) -> torch.Tensor:
        """bool (positions · parities): whether a row's voxel lies on the fine grid."""
        marks = torch.ones(math.prod(self.positions), self.parities)
        self.clear_outside(marks)
        return marks.flatten() > 0


def _axis_slices(low: int, stride: int, parity: int) -> tuple[slice, slice]:
    """Positions that have a fine voxel at this parity, and those voxels."""
    if stride == 1:
        return slice(None), slice(None)
    return (slice(1, None), slice(1, None, 2)) if parity == 0 else (slice(0, low), slice(0, None, 2))


def _split(x: torch.Tensor, shape: list[int]) -> torch.Tensor:
    """x: (z, y, x, C), perhaps not contiguous, viewed with its first three axes split as `shape` says."""
    strides: list[int] = []
    for axis in range(3):
        step, parities = x.stride(axis), shape[2 * axis + 1]
        strides += [step * parities, step]
    return x.as_strided((*shape, x.shape[3]), (*strides, x.stride(3)), x.storage_offset())

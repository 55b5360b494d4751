"""The operations in plain torch. On a CPU they work on pieces that stay in its cache."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from voxtell_dicom.engine.cpu import conv3d
from voxtell_dicom.engine.fold import Layout
from voxtell_dicom.engine.kernels.tiles import Way
from voxtell_dicom.engine.statistics import InstanceNorm

_PIECE_BYTES = 512 << 10  # per thread: what it works on and a copy fit a second-level cache
Sums = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Features:
    """A stage's finished features, as the next stage reads them."""

    rows: torch.Tensor  # (prompts, positions, parities · C); one prompt where all share it
    layout: Layout

    def of(self, prompt: int) -> Features:
        """Return the features of one prompt."""
        return self if self.rows.shape[0] == 1 else Features(self.rows[prompt : prompt + 1], self.layout)

    def padded(self) -> torch.Tensor:
        """Return a copy with a border of one voxel of 0: (prompts, z + 2, y + 2, x + 2, C)."""
        return torch.stack([self.layout.padded(rows) for rows in self.rows])


class TorchOps:
    """See each method; `TritonOps` has the same. Rows are (prompts, positions, columns) unless stated otherwise."""

    name = "torch"
    way = Way()  # how a window's prompts are launched

    def upconv(
        self, x: Features, weights: torch.Tensor, skip: torch.Tensor, layout: Layout
    ) -> tuple[torch.Tensor, Sums]:
        """The folded up-convolution plus the skip half, 0 outside the fine grid, and its sums.

        weights: (prompts, parities · C_out, taps z, y, x, C_in); skip: (positions, columns), 0 outside. Returns rows
        and what `scale_and_shift` takes.
        """
        total = torch.zeros(weights.shape[0], skip.shape[1], dtype=torch.float64, device=skip.device)
        squares = torch.zeros_like(total)
        made = []
        for prompt, each in enumerate(weights):
            padded = x.layout.padded(x.of(prompt).rows[0])
            y = conv3d(padded.permute(3, 0, 1, 2)[None], each.permute(0, 4, 1, 2, 3))
            del padded
            rows = y.permute(0, 2, 3, 4, 1).reshape(skip.shape)
            layout.clear_outside(rows)
            for piece in _pieces(rows):
                part = rows[piece]
                part += skip[piece]
                _add_sums(part, total[prompt], squares[prompt])
            made.append(rows)
        return made[0][None] if len(made) == 1 else torch.stack(made), (total, squares)

    def sums(self, rows: torch.Tensor) -> Sums:
        """Return the input of `scale_and_shift`: per prompt and column in float64, (sum, sum of squares)."""
        total = torch.zeros(rows.shape[0], rows.shape[2], dtype=torch.float64, device=rows.device)
        squares = torch.zeros_like(total)
        for prompt, whole in enumerate(rows):
            for piece in _pieces(whole):
                _add_sums(whole[piece], total[prompt], squares[prompt])
        return total, squares

    def scale_and_shift(
        self, sums: Sums, norm: InstanceNorm, rows: torch.Tensor, count: int, layout: Layout | None = None
    ) -> Sums:
        """rows · scale + shift is the norm; both float32, (prompts, columns).

        sums: of `rows`, over `count` voxels; layout: tells which of them lie on the fine grid, None where all do.
        """
        made = [
            norm.scale_and_shift((total, squares), part, count, layout)
            for total, squares, part in zip(*sums, rows, strict=True)
        ]
        scale, shift = zip(*made, strict=True)
        return torch.stack(scale), torch.stack(shift)

    def normalise_(
        self,
        rows: torch.Tensor,
        scale: torch.Tensor,
        shift: torch.Tensor,
        slope: float,
        residual: torch.Tensor | None = None,
    ) -> None:
        """rows = leaky_relu(rows · scale + shift + residual), in place. scale, shift: from `scale_and_shift`."""
        for prompt, whole in enumerate(rows):
            for piece in _pieces(whole):
                part = torch.addcmul(shift[prompt], whole[piece], scale[prompt])
                if residual is not None:
                    part += residual[prompt, piece]
                whole[piece] = F.leaky_relu_(part, slope)

    def normalise_and_dot(
        self, rows: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, slope: float, embedding: torch.Tensor
    ) -> torch.Tensor:
        """Return the dot products of normalised, activated voxels with `embedding` (C): (positions, parities), float32.

        Of one prompt: rows (positions, columns), scale and shift (columns).
        """
        embedding = embedding.float()
        out = torch.empty(rows.shape[0], rows.shape[1] // embedding.shape[0], device=rows.device)
        for piece in _pieces(rows):
            part = F.leaky_relu_(torch.addcmul(shift, rows[piece], scale), slope)
            torch.mv(part.reshape(-1, embedding.shape[0]), embedding, out=out[piece].view(-1))
        return out

    def dot_accumulate(
        self,
        rows: torch.Tensor,
        scale: torch.Tensor,
        shift: torch.Tensor,
        slope: float,
        embedding: torch.Tensor,
        layout: Layout,
        importance: torch.Tensor,
        target: torch.Tensor,
    ) -> None:
        """target (z, y, x), float16, a view: += importance · `normalise_and_dot`, the logits never stored on CUDA."""
        dotted = self.normalise_and_dot(rows, scale, shift, slope, embedding)
        logits = layout.inside(layout.interleave(dotted))[..., 0]
        target += logits * importance


def _add_sums(part: torch.Tensor, total: torch.Tensor, squares: torch.Tensor) -> None:
    wide = part.float()
    total += wide.sum(0)
    squares += (wide * wide).sum(0)


def _pieces(rows: torch.Tensor) -> Iterator[slice]:
    step = rows.shape[0]
    if rows.device.type == "cpu":
        step = max(1, _PIECE_BYTES * torch.get_num_threads() // (rows.shape[1] * rows.element_size()))
    return (slice(start, start + step) for start in range(0, rows.shape[0], step))

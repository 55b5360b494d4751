"""The operations in plain torch. On a CPU they work on pieces that stay in its cache."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.nn import functional as F

from voxtell_dicom.engine.cpu import conv3d
from voxtell_dicom.engine.fold import Layout

_PIECE_BYTES = 512 << 10  # per thread: what it works on and a copy fit a second-level cache
Sums = tuple[torch.Tensor, torch.Tensor]


class TorchOps:
    """See each method; `TritonOps` has the same."""

    name = "torch"

    def upconv(
        self, x: torch.Tensor, weights: torch.Tensor, skip: torch.Tensor, layout: Layout
    ) -> tuple[torch.Tensor, Sums]:
        """The folded up-convolution plus the skip half, 0 outside the fine grid, and its sums.

        x: (z + 2, y + 2, x + 2, C_in); weights: (parities · C_out, taps z, y, x, C_in); skip: rows, 0 outside.
        Returns rows and, per column in float64, (sum, sum of squares).
        """
        y = conv3d(x.permute(3, 0, 1, 2)[None], weights.permute(0, 4, 1, 2, 3))
        rows = y.permute(0, 2, 3, 4, 1).reshape(skip.shape)
        layout.clear_outside(rows)
        total = torch.zeros(rows.shape[1], dtype=torch.float64, device=rows.device)
        squares = torch.zeros_like(total)
        for piece in _pieces(rows):
            part = rows[piece]
            part += skip[piece]
            wide = part.float()
            total += wide.sum(0)
            squares += (wide * wide).sum(0)
        return rows, (total, squares)

    def sums(self, rows: torch.Tensor) -> Sums:
        """Per column in float64: (sum, sum of squares)."""
        total = torch.zeros(rows.shape[1], dtype=torch.float64, device=rows.device)
        squares = torch.zeros_like(total)
        for piece in _pieces(rows):
            wide = rows[piece].float()
            total += wide.sum(0)
            squares += (wide * wide).sum(0)
        return total, squares

    def normalise_(
        self,
        rows: torch.Tensor,
        scale: torch.Tensor,
        shift: torch.Tensor,
        slope: float,
        residual: torch.Tensor | None = None,
    ) -> None:
        """rows = leaky_relu(rows · scale + shift + residual), in place. scale, shift: float32 per column."""
        for piece in _pieces(rows):
            part = torch.addcmul(shift, rows[piece], scale)
            if residual is not None:
                part += residual[piece]
            rows[piece] = F.leaky_relu_(part, slope)

    def normalise_and_dot(
        self, rows: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, slope: float, embedding: torch.Tensor
    ) -> torch.Tensor:
        """The dot product of each normalised, activated voxel with `embedding` (C): (positions, parities), float32."""
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


def _pieces(rows: torch.Tensor) -> Iterator[slice]:
    step = rows.shape[0]
    if rows.device.type == "cpu":
        step = max(1, _PIECE_BYTES * torch.get_num_threads() // (rows.shape[1] * rows.element_size()))
    return (slice(start, start + step) for start in range(0, rows.shape[0], step))

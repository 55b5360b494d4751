"""The twin's operations as Triton kernels. Importing it raises ImportError where Triton is not installed."""

from __future__ import annotations

import torch

from voxtell_dicom.engine.fold import Layout
from voxtell_dicom.engine.kernels import dot, upconv
from voxtell_dicom.engine.kernels import norm as norms
from voxtell_dicom.engine.kernels.tiles import Chosen, Kernel, Selection, Way, Widths
from voxtell_dicom.engine.kernels.twin import Features, Sums, TorchOps
from voxtell_dicom.engine.statistics import InstanceNorm


class TritonOps(TorchOps):
    """The twin's operations as Triton kernels."""

    name = "triton"

    def __init__(self, selection: Selection | None = None, way: Way | None = None) -> None:
        """selection: which tile a launch takes; without it, the default ones. way: of launching a window's prompts."""
        self.selection = selection or Chosen()
        self.way = way or Way()

    def upconv(
        self, x: Features, weights: torch.Tensor, skip: torch.Tensor, layout: Layout
    ) -> tuple[torch.Tensor, Sums]:
        """Return rows and sums as the twin does, the sums of each tile, (prompts, tiles, columns)."""
        tile = self.selection.tile(Widths(Kernel.UPCONV, weights.shape[-1], skip.shape[1]))
        return upconv.upconv(x, weights, skip, layout, tile)

    def sums(self, rows: torch.Tensor) -> Sums:
        """Return the sums as the twin does, but for each tile: (prompts, tiles, columns)."""
        return norms.sums(rows, self.selection.tile(Widths(Kernel.NORMALISE, 0, rows.shape[2])))

    def scale_and_shift(
        self,
        sums: Sums,
        norm: InstanceNorm,
        rows: torch.Tensor,  # noqa: ARG002 - only float32 needs a second pass: in half precision features round more
        count: int,
        layout: Layout | None = None,  # noqa: ARG002
    ) -> Sums:
        """Return scale and shift as the twin does, in one launch."""
        return norms.scale_and_shift(sums, norm, count)

    def normalise_(
        self,
        rows: torch.Tensor,
        scale: torch.Tensor,
        shift: torch.Tensor,
        slope: float,
        residual: torch.Tensor | None = None,
    ) -> None:
        """As the twin's."""
        tile = self.selection.tile(Widths(Kernel.NORMALISE, 0, rows.shape[2]))
        norms.normalise_(rows, scale, shift, slope, residual, tile)

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
        """As the twin's."""
        tile = self.selection.tile(Widths(Kernel.DOT, 0, rows.shape[1]))
        dot.dot_accumulate(rows, scale, shift, slope, embedding, layout, importance, target, tile)

"""Instance norm from sums: what to multiply and what to add, per column of channels-last rows."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from voxtell_dicom.engine.fold import Layout

_DOMINANT_MEAN = 16.0  # mean² above this many variances: E[x²] - mean² loses digits, computed in two passes instead


@dataclass(frozen=True)
class InstanceNorm:
    """An affine instance norm. weight, bias: (C)."""

    weight: torch.Tensor
    bias: torch.Tensor
    eps: float

    def scale_and_shift(
        self,
        sums: tuple[torch.Tensor, torch.Tensor],
        rows: torch.Tensor,
        count: int,
        layout: Layout | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """x · scale + shift is the norm, both float32 per column.

        sums: per column in float64 (sum, sum of squares) over `count` voxels. rows: (positions, parities · C), what
        they were taken of; layout: tells which of them lie on the fine grid; None where all do.
        """
        channels = self.weight.shape[0]
        total, squares = (s.view(-1, channels).sum(0) for s in sums)
        mean = total / count
        variance = squares / count - mean.square()
        if rows.dtype == torch.float32:  # in half precision the features' own rounding is larger
            lossy = torch.nonzero(mean.square() > _DOMINANT_MEAN * variance).flatten()
            if lossy.numel():
                values = rows.view(-1, channels)
                values = (values if layout is None else values[layout.is_inside.to(rows.device)])[:, lossy]
                variance[lossy] = (values.double() - mean[lossy]).square().mean(0)
        scale = self.weight.double() / (variance.clamp_min(0) + self.eps).sqrt()
        shift = self.bias.double() - mean * scale
        parities = rows.shape[1] // channels
        return scale.float().repeat(parities), shift.float().repeat(parities)

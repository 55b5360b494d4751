"""The image decoder with everything that no prompt changes done once per window: exact algebra, not an approximation.

- The convolution of concat(up, skip) is conv(up) + conv(skip): the skip half is computed once per window.
- The fusion maps are linear in the features, so a prompt's mask embedding folds into weights of its own
  (W_x + Eᵀ W_fusion), and those, with the transposed convolution, into one small convolution (`fold`).
- The lowest stage sees no prompt.
- The last stage's normalise, activate and dot run over pieces that stay in the cache; the normalised map at full
  resolution is never stored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from voxtell_dicom.engine.cpu import conv3d
from voxtell_dicom.engine.fold import Layout, Triple, add_bias, fold_bias, fold_weights
from voxtell_dicom.engine.graph import PromptGraph
from voxtell_dicom.engine.kernels.tiles import Kernel, Widths
from voxtell_dicom.engine.kernels.tune import Launch
from voxtell_dicom.engine.kernels.twin import Features, Sums, TorchOps
from voxtell_dicom.engine.network.encoder import stage_shapes
from voxtell_dicom.engine.network.voxtell import VoxTellNetwork
from voxtell_dicom.engine.statistics import InstanceNorm

_SHARE_FOR_GROUPS = 0.25  # of the card's free memory


@dataclass(frozen=True)
class _Stage:
    """A decoder stage that sees the prompt, weights folded."""

    stride: Triple
    base: torch.Tensor  # (parities · C_out · taps, C_in): the features' part
    fused: torch.Tensor  # (parities · C_out · taps, heads): the fusion maps' part
    taps: Triple
    skip: torch.Tensor  # (C_out, C_skip, 3, 3, 3)
    up_bias: torch.Tensor  # of the transposed convolution, as `fold_bias` gives it
    bias: torch.Tensor
    norm: InstanceNorm
    slope: float

    def weights(self, embedding: torch.Tensor) -> torch.Tensor:
        """embedding: (prompts, heads, C_in). Returns weights (prompts, parities · C_out, taps z, y, x, C_in)."""
        folded = self.base.new_empty(embedding.shape[0], *self.base.shape)
        for out, each in zip(folded, embedding.to(self.base.dtype), strict=True):
            torch.addmm(self.base, self.fused, each, out=out)
        return folded.view(embedding.shape[0], -1, *self.taps, self.base.shape[1])


@dataclass(frozen=True)
class Shared:
    """What all prompts of a window share."""

    lowest: Features  # the lowest stage's
    skips: list[torch.Tensor]  # per further stage, rows (positions, parities · C)
    layouts: list[Layout]


@dataclass(frozen=True)
class Top:
    """The last stage's convolution for one prompt, still to be normalised, and how."""

    rows: torch.Tensor
    scale: torch.Tensor
    shift: torch.Tensor
    slope: float
    layout: Layout


def can_be_folded(network: VoxTellNetwork) -> bool:
    """Whether the decoder is built as v1.1's: one 3³ convolution a stage, instance norm, leaky ReLU, strides 1 or 2."""
    for up, stage in zip(network.decoder.transpconvs, network.decoder.stages, strict=True):
        blocks: Any = stage.convs
        if len(blocks) != 1 or [*map(type, blocks[0].all_modules)][1:] != [nn.InstanceNorm3d, nn.LeakyReLU]:
            return False
        conv, norm, stride = blocks[0].conv, blocks[0].norm, _triple(up.stride)  # type: ignore[arg-type]
        if (
            not isinstance(conv, nn.Conv3d)
            or conv.kernel_size != (3, 3, 3)
            or not norm.affine
            or not set(stride) <= {1, 2}
        ):
            return False
    return all(network.decoder.fused[:-1])


def launches(network: VoxTellNetwork) -> list[Launch]:
    """Return the launches of decoder and encoder; empty where the decoder cannot be folded.

    The up-convolution comes last: its tiles take minutes to compile, the others seconds.
    """
    if not can_be_folded(network):
        return []
    shapes = stage_shapes(network.encoder, network.patch_size)  # full resolution first
    found = []
    strides = [_triple(up.stride) for up in network.decoder.transpconvs][::-1]  # type: ignore[arg-type]
    channels = [int(c) for c in network.encoder.output_channels]
    for i, stride in enumerate(strides[:-1]):
        low, columns = shapes[i + 1], math.prod(stride) * channels[i]
        below = strides[i + 1] if i + 2 < len(strides) else (1, 1, 1)  # the lowest stage is no row of parities
        found.append(Launch(Widths(Kernel.UPCONV, channels[i + 1], columns), low, stride, below))
        kernel = Kernel.NORMALISE if i else Kernel.DOT
        found.append(Launch(Widths(kernel, 0, columns), low, stride))
    found += [Launch(Widths(Kernel.NORMALISE, 0, c), s, (1, 1, 1)) for c, s in zip(channels, shapes, strict=True)]
    ordered = sorted(found, key=lambda launch: launch.widths.kernel is Kernel.UPCONV)
    return list({launch.widths: launch for launch in reversed(ordered)}.values())[::-1]


class FastDecoder:
    """`ImageDecoder` for many prompts over one window."""

    def __init__(
        self, network: VoxTellNetwork, dtype: torch.dtype = torch.float32, ops: TorchOps | None = None
    ) -> None:
        """network: with its weights, on its device; `can_be_folded`. dtype: of weights and features."""
        decoder = network.decoder
        self._dtype = dtype
        self._ops = ops or TorchOps()
        self._lowest = (decoder.transpconvs[0], decoder.stages[0])
        self._stages = [
            _folded(up, stage, network.sizes.mask_heads, dtype)
            for up, stage in zip(decoder.transpconvs[1:], decoder.stages[1:], strict=True)
        ]
        self._graph = PromptGraph(self._whole) if self._ops.way.graph else None

    def share(self, skips: list[torch.Tensor]) -> Shared:
        """skips: encoder features of one window, full resolution first, (1, C, z, y, x); emptied, to save memory."""
        up, stage = self._lowest
        x = stage(torch.cat((up(skips.pop()), skips.pop()), dim=1)).to(self._dtype)
        low = _triple(x.shape[2:])
        lowest = Features(x[0].permute(1, 2, 3, 0).reshape(1, -1, x.shape[1]).contiguous(), Layout(low, (1, 1, 1)))
        layouts, rows = [], []
        for folded in self._stages:
            layout = Layout(low, folded.stride)
            skip = skips.pop().to(self._dtype).contiguous(memory_format=torch.channels_last_3d)
            half = conv3d(skip, folded.skip, folded.bias.to(self._dtype), padding=(1, 1, 1))[0]
            del skip
            add_bias(half, folded.up_bias)
            rows.append(layout.rows(half.permute(1, 2, 3, 0)))
            del half
            layouts.append(layout)
            low = layout.fine
        return Shared(lowest, rows, layouts)

    def logits(self, shared: Shared, embeddings: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """embeddings: full resolution first, each (N, heads, C). Yields each prompt's logits (z, y, x), float32."""
        for n, top in self._tops(shared, embeddings):
            dotted = self._ops.normalise_and_dot(top.rows, top.scale, top.shift, top.slope, embeddings[0][n, 0])
            logits = top.layout.inside(top.layout.interleave(dotted))[..., 0]
            del top  # its map is the largest thing here: the next prompt's must not lie beside it
            yield logits

    def accumulate(
        self, shared: Shared, embeddings: Sequence[torch.Tensor], importance: torch.Tensor, targets: torch.Tensor
    ) -> Iterator[int]:
        """targets: (N, z, y, x) float16, += importance · logits. Yields each prompt's number when it has been added."""
        for n, top in self._tops(shared, embeddings):
            self._ops.dot_accumulate(
                top.rows, top.scale, top.shift, top.slope, embeddings[0][n, 0], top.layout, importance, targets[n]
            )
            del top
            yield n

    def _tops(self, shared: Shared, embeddings: Sequence[torch.Tensor]) -> Iterator[tuple[int, Top]]:
        """Each prompt's number and last stage, never bound here: see `logits`."""
        prompts = range(embeddings[0].shape[0])
        if self._graph is not None:
            self._graph.begin(shared)
            for n in prompts:
                yield n, self._graph.replay([e[n : n + 1] for e in embeddings])
            return
        group = self._group(shared)
        for n in prompts:
            if n % group == 0:
                below = self._below(shared, [e[n : n + group] for e in embeddings])
            yield n, self._top(shared, below.of(n % group), embeddings[1][n : n + 1])

    def _group(self, shared: Shared) -> int:
        """Return how many prompts go through the lower stages at once: as many as wanted, where memory allows."""
        wanted = self._ops.way.group
        if wanted == 1:
            return 1
        each = 2 * sum(skip.numel() * skip.element_size() for skip in shared.skips[:-1])
        free, _ = torch.cuda.mem_get_info(shared.lowest.rows.device)
        return max(1, min(wanted, int(_SHARE_FOR_GROUPS * free) // max(each, 1)))

    def _whole(self, shared: Shared, embeddings: Sequence[torch.Tensor]) -> Top:
        return self._top(shared, self._below(shared, embeddings), embeddings[1])

    def _below(self, shared: Shared, embeddings: Sequence[torch.Tensor]) -> Features:
        """Return the features of all stages but the last, for some prompts."""
        x = shared.lowest
        for i, stage in enumerate(self._stages[:-1]):
            rows, (scale, shift) = self._measured(i, shared, x, embeddings[len(self._stages) - i])
            self._ops.normalise_(rows, scale, shift, stage.slope)
            x = Features(rows, shared.layouts[i])
        return x

    def _top(self, shared: Shared, below: Features, embedding: torch.Tensor) -> Top:
        last = len(self._stages) - 1
        rows, (scale, shift) = self._measured(last, shared, below, embedding)
        return Top(rows[0], scale[0], shift[0], self._stages[last].slope, shared.layouts[last])

    def _measured(self, i: int, shared: Shared, x: Features, embedding: torch.Tensor) -> tuple[torch.Tensor, Sums]:
        """Return the convolution of stage `i` for some prompts, and the scale and shift that normalise it."""
        stage, layout = self._stages[i], shared.layouts[i]
        rows, sums = self._ops.upconv(x, stage.weights(embedding), shared.skips[i], layout)
        return rows, self._ops.scale_and_shift(sums, stage.norm, rows, math.prod(layout.fine), layout)


def _folded(up: Any, stage: nn.Module, heads: int, dtype: torch.dtype) -> _Stage:
    blocks: Any = stage.convs
    block = blocks[0]
    conv, norm = block.conv, block.norm
    out = conv.out_channels
    stride = _triple(up.stride)
    folded = fold_weights(up.weight, conv.weight[:, :out], stride).to(dtype)
    flat = folded.flatten(0, -2)
    zeros = torch.zeros(out, device=flat.device)
    return _Stage(
        stride=stride,
        base=flat[:, :-heads].contiguous(),
        fused=flat[:, -heads:].contiguous(),
        taps=_triple(folded.shape[4:7]),
        skip=conv.weight[:, out:].to(dtype).contiguous(memory_format=torch.channels_last_3d),
        up_bias=fold_bias(zeros if up.bias is None else up.bias, conv.weight[:, :out]).to(dtype),
        bias=zeros if conv.bias is None else conv.bias,
        norm=InstanceNorm(norm.weight, norm.bias, norm.eps),
        slope=block.nonlin.negative_slope,
    )


def _triple(values: Sequence[int]) -> Triple:
    z, y, x = values
    return int(z), int(y), int(x)

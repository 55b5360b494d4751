"""The image decoder, the plain way: one prompt after the other, as the network was trained.

`fast_decoder.py` computes the same function with the prompt-free part done once; this is the reference to read.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from dynamic_network_architectures.building_blocks.helper import get_matching_convtransp
from dynamic_network_architectures.building_blocks.residual_encoders import ResidualEncoder
from dynamic_network_architectures.building_blocks.simple_conv_blocks import StackedConvBlocks
from torch import nn


class ImageDecoder(nn.Module):
    """A U-Net's decoder whose features meet the prompt at the lowest `mask_stages` stages and at the last.

    `stages`, `transpconvs` and `seg_layers` count from the bottleneck up. `seg_layers`, the heads of deep supervision,
    exist only where training asked for them.
    """

    def __init__(
        self, encoder: ResidualEncoder, convs_per_stage: Sequence[int], mask_stages: int, heads: int, supervised: bool
    ) -> None:
        super().__init__()
        channels = [int(c) for c in encoder.output_channels]
        count = len(channels) - 1
        transposed = get_matching_convtransp(conv_op=encoder.conv_op)
        stages, transpconvs, seg_layers = [], [], []
        self.fused = [count - mask_stages <= i < count - 1 for i in range(count)]
        for i in range(count):
            below = channels[count - i] + (heads if i and self.fused[i - 1] else 0)
            here = channels[count - i - 1]
            stride = encoder.strides[count - i]
            transpconvs.append(transposed(below, here, stride, stride, bias=encoder.conv_bias))
            stages.append(
                StackedConvBlocks(
                    convs_per_stage[i], encoder.conv_op, 2 * here, here, encoder.kernel_sizes[count - i - 1], 1,
                    encoder.conv_bias, encoder.norm_op, encoder.norm_op_kwargs, encoder.dropout_op,
                    encoder.dropout_op_kwargs, encoder.nonlin, encoder.nonlin_kwargs,
                )
            )  # fmt: skip
            seg_layers.append(encoder.conv_op(here + heads, 1, 1, 1, 0, bias=True))
        self.stages = nn.ModuleList(stages)
        self.transpconvs = nn.ModuleList(transpconvs)
        if supervised:
            self.seg_layers = nn.ModuleList(seg_layers)
        self.supervised = supervised

    def forward(self, skips: Sequence[torch.Tensor], embeddings: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """One prompt.

        skips: encoder features, full resolution first, each (batch, C, z, y, x). embeddings: mask embeddings of the
        prompt, full resolution first, each (batch, heads, C). Returns logits (batch, 1, z, y, x): the full
        resolution's, followed by the lower ones' where deep supervision is on.
        """
        x = skips[-1]
        last = len(self.stages) - 1
        logits: list[torch.Tensor] = []
        for i, (up, stage) in enumerate(zip(self.transpconvs, self.stages, strict=True)):
            skip = skips[last - i]
            x = stage(torch.cat((up(x), skip), dim=1))
            if i == last or self.fused[i]:
                fusion = torch.einsum("bczyx,bhc->bhzyx", x, embeddings[last - i])
                if i == last:
                    logits.insert(0, fusion)
                    break
                x = torch.cat((x, fusion), dim=1)
                if self.supervised:
                    logits.insert(0, self.seg_layers[i](x))
        return logits

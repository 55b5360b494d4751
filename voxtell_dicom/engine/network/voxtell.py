"""VoxTell put together: image encoder, prompt decoder, image decoder. State-dict names are the official ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from dynamic_network_architectures.initialization.weight_init import InitWeights_He, init_last_bn_before_add_to_0
from positional_encodings.torch_encodings import PositionalEncoding3D
from torch import nn

from voxtell_dicom.engine.network.encoder import build_encoder, features, stage_shape
from voxtell_dicom.engine.network.image_decoder import ImageDecoder
from voxtell_dicom.engine.network.prompt_decoder import PromptDecoder
from voxtell_dicom.engine.network.sizes import Sizes
from voxtell_dicom.errors import ModelError

Look = list[tuple[torch.Tensor, torch.Tensor]]


def _mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))


def position_table(shape_zyx: Sequence[int], width: int) -> torch.Tensor:
    """The sinusoidal table of the memory's tokens, (tokens, 1, width), tokens in (y, x, z) order as the memory's."""
    z, y, x = shape_zyx
    with torch.device("cpu"):  # arithmetic on the meta device would load torch's compiler and Triton: 0.1 GB, seconds
        table: torch.Tensor = PositionalEncoding3D(width)(torch.zeros(1, y, x, z, width))
    return table.flatten(0, 3).unsqueeze(1)


class VoxTellNetwork(nn.Module):
    """Image patch and prompt vectors in, one logit map per prompt out.

    arch_kwargs: plans.json's, classes looked up (`engine.plans`). patch_size: (z, y, x), as plans.json states it; need
    not be a cube. deep_supervision: for training; `forward` then returns the logits of every stage that meets the
    prompt, full resolution first. Raises ModelError where the numbers do not fit one another.
    """

    pos_embed: torch.Tensor

    def __init__(
        self,
        sizes: Sizes,
        arch_kwargs: Mapping[str, Any],
        patch_size: Sequence[int],
        *,
        deep_supervision: bool = False,
    ) -> None:
        super().__init__()
        channels = features(arch_kwargs)
        count = len(channels) - 1
        if sizes.mask_stages > count or sizes.decoder_layer > count:
            raise ModelError(f"{count + 1} encoder stages are too few for {sizes}")
        convs = arch_kwargs.get("n_conv_per_stage_decoder", 1)
        convs = [convs] * count if isinstance(convs, int) else list(convs)
        self.sizes = sizes
        self.patch_size = tuple(int(n) for n in patch_size)
        self.deep_supervision = deep_supervision

        self.encoder = build_encoder(arch_kwargs)
        self.decoder = ImageDecoder(self.encoder, convs, sizes.mask_stages, sizes.mask_heads, deep_supervision)
        self.project_bottleneck_embed = _mlp(channels[sizes.decoder_layer], sizes.query_dim, sizes.query_dim)
        self.project_text_embed = _mlp(sizes.text_embedding_dim, sizes.text_hidden_dim, sizes.query_dim)
        self.project_to_decoder_channels = nn.ModuleList(
            _mlp(sizes.query_dim, sizes.mask_hidden_dim, channels[i] * (sizes.mask_heads if i else 1))
            for i in range(sizes.mask_stages)
        )
        memory_shape = stage_shape(arch_kwargs, patch_size, sizes.decoder_layer)
        stage_shape(arch_kwargs, patch_size, count)  # refuses a patch that the deeper strides do not divide
        self.register_buffer("pos_embed", position_table(memory_shape, sizes.query_dim))
        self.transformer_decoder = PromptDecoder(
            sizes.query_dim, sizes.transformer_layers, sizes.transformer_heads, sizes.transformer_ffn_dim
        )

    def initialise(self) -> None:
        """Weights to start training from, as nnU-Net sets them."""
        self.apply(InitWeights_He(1e-2))
        self.apply(init_last_bn_before_add_to_0)

    def encode(self, image: torch.Tensor) -> list[torch.Tensor]:
        """image: (batch, 1, z, y, x), z-scored. Returns the features of every stage, full resolution first."""
        skips: list[torch.Tensor] = self.encoder(image)
        return skips

    def look(self, skips: Sequence[torch.Tensor]) -> Look:
        """What the prompt decoder needs of a window: keys and values of each layer, once for all prompts."""
        tokens = skips[self.sizes.decoder_layer].permute(0, 3, 4, 2, 1).flatten(1, 3)  # b c z y x → b (y x z) c
        memory = self.project_bottleneck_embed(tokens)
        return self.transformer_decoder.look(memory, self.pos_embed.transpose(0, 1))

    def ask(self, look: Look, prompts: torch.Tensor) -> list[torch.Tensor]:
        """Mask embeddings of each prompt in a window.

        prompts: (batch, N, text_embedding_dim). Returns one (batch, N, heads, C) per image-decoder stage that meets the
        prompt, full resolution first; heads is 1 at full resolution.
        """
        answer = self.transformer_decoder(self.project_text_embed(prompts), look)
        heads = self.sizes.mask_heads
        return [
            projection(answer).view(*answer.shape[:2], heads if i else 1, -1)
            for i, projection in enumerate(self.project_to_decoder_channels)
        ]

    def forward(self, image: torch.Tensor, prompts: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """image: (batch, 1, z, y, x); prompts: (batch, N, text_embedding_dim). Returns logits (batch, N, z, y, x).

        With deep supervision: a list of them, one per stage, full resolution first.
        """
        skips = self.encode(image)
        embeddings = self.ask(self.look(skips), prompts)
        per_prompt = [self.decoder(skips, [e[:, n] for e in embeddings]) for n in range(prompts.shape[1])]
        outputs = [torch.cat(maps, dim=1) for maps in zip(*per_prompt, strict=True)]
        return outputs if self.deep_supervision else outputs[0]

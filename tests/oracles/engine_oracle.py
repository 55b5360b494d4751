"""The official VoxTell classes, built at small sizes: their constants are patched here, in tests, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from voxtell.model import voxtell_model as official
from voxtell.model.transformer import TransformerDecoderLayer

from voxtell_dicom.engine.network import Sizes
from voxtell_dicom.engine.network.encoder import features, stage_shape

SMALL_SIZES = Sizes(
    text_embedding_dim=2560, query_dim=96, transformer_layers=3, transformer_heads=8, transformer_ffn_dim=2048,
    mask_heads=8, mask_hidden_dim=64,
)  # fmt: skip
SMALL_PATCH = (32, 64, 96)


def arch_kwargs(features_per_stage: list[int], blocks: list[int], strides: list[Any]) -> dict[str, Any]:
    """nnU-Net's arch_kwargs as plans.json has them, classes looked up."""
    n = len(features_per_stage)
    return {
        "n_stages": n,
        "features_per_stage": features_per_stage,
        "conv_op": torch.nn.Conv3d,
        "kernel_sizes": [[3, 3, 3]] * n,
        "strides": strides,
        "n_blocks_per_stage": blocks,
        "n_conv_per_stage_decoder": [1] * (n - 1),
        "conv_bias": True,
        "norm_op": torch.nn.InstanceNorm3d,
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": torch.nn.LeakyReLU,
        "nonlin_kwargs": {"inplace": True},
    }


SMALL_ARCH = arch_kwargs(
    [8, 16, 24, 32, 40, 40], [1, 1, 1, 1, 1, 1], [[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 2, 2], [2, 2, 2], [2, 2, 2]]
)
FULL_ARCH = arch_kwargs([32, 64, 128, 256, 320, 320], [1, 3, 4, 6, 6, 6], [[1, 1, 1]] + [[2, 2, 2]] * 5)


@contextmanager
def official_constants(sizes: Sizes, arch: dict[str, Any], patch_size: tuple[int, int, int]) -> Iterator[None]:
    """The official classes' constants set to these sizes, for as long as the context lasts."""
    channels = features(arch)
    configs = {}
    for stage in range(len(channels)):
        z, y, x = stage_shape(arch, patch_size, stage)
        configs[stage] = {"channels": channels[stage], "shape": (y, x, z)}  # its (h, w, d) of an image (d, h, w)
    real = TransformerDecoderLayer.__init__

    def layer_init(self: Any, d_model: int, nhead: int, dim_feedforward: int = 2048, **kwargs: Any) -> None:
        real(self, d_model, nhead, dim_feedforward=sizes.transformer_ffn_dim, **kwargs)

    with (
        patch.object(official.VoxTellModel, "DECODER_CONFIGS", configs),
        patch.object(official.VoxTellModel, "TRANSFORMER_NUM_HEADS", sizes.transformer_heads),
        patch.object(official.VoxTellModel, "TRANSFORMER_NUM_LAYERS", sizes.transformer_layers),
        patch.object(TransformerDecoderLayer, "__init__", layer_init),
    ):
        yield


def official_model(
    sizes: Sizes, arch: dict[str, Any], patch_size: tuple[int, int, int], deep_supervision: bool = False
) -> official.VoxTellModel:
    """The official model at these sizes, in eval mode."""
    with official_constants(sizes, arch, patch_size):
        model = official.VoxTellModel(
            input_channels=1, **arch, decoder_layer=sizes.decoder_layer, text_embedding_dim=sizes.text_embedding_dim,
            num_maskformer_stages=sizes.mask_stages, num_heads=sizes.mask_heads, query_dim=sizes.query_dim,
            project_to_decoder_hidden_dim=sizes.mask_hidden_dim, deep_supervision=deep_supervision,
        )  # fmt: skip
    return model.eval()


def randomise(model: torch.nn.Module, seed: int = 0) -> None:
    """Norms and biases too: the defaults (ones and zeros) would hide a mistake in them."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))


def close(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """max|Δ| / max|official|."""
    return float((ours - theirs).detach().abs().max() / theirs.detach().abs().max())

"""The official VoxTell classes, built at small sizes: their constants are patched here, in tests, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from voxtell.inference import predictor as predictor_module
from voxtell.inference.predictor import VoxTellPredictor
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
    """The official model at these sizes, in eval mode; the same weights at every run."""
    torch.manual_seed(0)
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


def write_official_directory(
    directory: Path, model: torch.nn.Module, sizes: Sizes, arch: dict[str, Any], patch_size: tuple[int, int, int]
) -> Path:
    """plans.json and fold_0/checkpoint_final.pth as nnU-Net writes them, and our sizes under their key."""
    (directory / "fold_0").mkdir(parents=True)
    dotted = {
        key: f"{value.__module__}.{value.__qualname__}" if isinstance(value, type) else value
        for key, value in arch.items()
    }
    imports = ["conv_op", "norm_op", "dropout_op", "nonlin"]
    architecture = {"arch_kwargs": dotted, "_kw_requires_import": imports}
    plans = {
        "configurations": {"3d_fullres": {"patch_size": list(patch_size), "architecture": architecture}},
        "voxtell_dicom": asdict(sizes),
    }
    (directory / "plans.json").write_text(json.dumps(plans))
    log = {"train_losses": [np.float64(0.5)], "mean_fg_dice": [np.float32(0.25)], "epoch_start_timestamps": [1.0]}
    torch.save(
        {
            "network_weights": model.state_dict(),
            "optimizer_state": None,
            "grad_scaler_state": None,
            "logging": log,
            "_best_ema": np.float64(0.5),
            "current_epoch": 1,
            "init_args": {"plans": plans, "fold": 0},
            "trainer_name": "VoxTellTrainer",
            "inference_allowed_mirroring_axes": None,
        },
        directory / "fold_0" / "checkpoint_final.pth",
    )
    return directory


def official_predictor(
    directory: Path, sizes: Sizes, arch: dict[str, Any], patch_size: tuple[int, int, int], bank: dict[str, Any]
) -> VoxTellPredictor:
    """The official predictor, loaded from the directory as it loads itself, only its sizes patched."""
    real = official.VoxTellModel

    def build(**kwargs: Any) -> official.VoxTellModel:
        kwargs.update(
            text_embedding_dim=sizes.text_embedding_dim, num_maskformer_stages=sizes.mask_stages,
            num_heads=sizes.mask_heads, query_dim=sizes.query_dim, decoder_layer=sizes.decoder_layer,
            project_to_decoder_hidden_dim=sizes.mask_hidden_dim,
        )  # fmt: skip
        return real(**kwargs)

    with official_constants(sizes, arch, patch_size), patch.object(predictor_module, "VoxTellModel", build):
        return VoxTellPredictor(str(directory), torch.device("cpu"), embedding_bank=bank)

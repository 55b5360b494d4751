"""The image encoder: nnU-Net's residual encoder, from the architecture that plans.json states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dynamic_network_architectures.building_blocks.residual_encoders import ResidualEncoder

from voxtell_dicom.errors import ModelError

INPUT_CHANNELS = 1
_ENCODER_KEYS = (
    "n_stages", "features_per_stage", "conv_op", "kernel_sizes", "strides", "n_blocks_per_stage", "conv_bias",
    "norm_op", "norm_op_kwargs", "dropout_op", "dropout_op_kwargs", "nonlin", "nonlin_kwargs", "block",
    "bottleneck_channels", "stem_channels",
)  # fmt: skip


def build_encoder(arch_kwargs: Mapping[str, Any]) -> ResidualEncoder:
    """arch_kwargs: plans.json's, with the classes it names already looked up. Returns all skips when called."""
    kwargs = {key: arch_kwargs[key] for key in _ENCODER_KEYS if key in arch_kwargs}
    return ResidualEncoder(INPUT_CHANNELS, return_skips=True, **kwargs)


def features(arch_kwargs: Mapping[str, Any]) -> list[int]:
    """Channels of each encoder stage, full resolution first."""
    value = arch_kwargs["features_per_stage"]
    return [value] * arch_kwargs["n_stages"] if isinstance(value, int) else [int(v) for v in value]


def strides_zyx(arch_kwargs: Mapping[str, Any]) -> list[tuple[int, int, int]]:
    """Stride of each encoder stage against the stage before."""
    value = arch_kwargs["strides"]
    per_stage = [value] * arch_kwargs["n_stages"] if isinstance(value, int) else list(value)
    triples = [(s, s, s) if isinstance(s, int) else tuple(int(v) for v in s) for s in per_stage]
    return [(z, y, x) for z, y, x in triples]


def stage_shape(arch_kwargs: Mapping[str, Any], patch_size: Sequence[int], stage: int) -> tuple[int, int, int]:
    """Shape (z, y, x) of the given stage's features for a patch. Raises ModelError where a stride does not divide."""
    z, y, x = (int(n) for n in patch_size)
    for sz, sy, sx in strides_zyx(arch_kwargs)[: stage + 1]:
        if z % sz or y % sy or x % sx:
            raise ModelError(f"patch size {tuple(patch_size)} cannot be divided by the strides of plans.json")
        z, y, x = z // sz, y // sy, x // sx
    return z, y, x


def stage_shapes(encoder: ResidualEncoder, patch_size: Sequence[int]) -> list[tuple[int, int, int]]:
    """Shape (z, y, x) of every stage's features for a patch that its strides divide."""
    shapes, current = [], tuple(int(n) for n in patch_size)
    for stride in encoder.strides:
        step = (stride,) * 3 if isinstance(stride, int) else tuple(stride)
        current = tuple(n // s for n, s in zip(current, step, strict=True))
        shapes.append((current[0], current[1], current[2]))
    return shapes

"""Between our state dict and the official one, which names some tensors twice and carries some that nothing uses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch

from voxtell_dicom.engine.network.prompt_decoder import UNUSED
from voxtell_dicom.engine.network.voxtell import VoxTellNetwork

_ALIAS = re.compile(r"(?:^decoder\.encoder\.)|(?:\.all_modules\.)")
_UNUSED = re.compile(r"(?:^transformer_decoder\.layers\.\d+\.(?:self_attn|norm1)\.)|(?:^decoder\.seg_layers\.)")


def is_alias(name: str) -> bool:
    """Whether an official name is a second one for a tensor that is also there under a first."""
    return bool(_ALIAS.search(name))


def is_unused(name: str) -> bool:
    """Whether inference has no use for the tensor of this official name."""
    return bool(_UNUSED.search(name))


def needed(names: Iterable[str]) -> list[str]:
    """Of official names, those that inference reads, once each."""
    return [name for name in names if not is_alias(name) and not is_unused(name)]


def official_state_dict(network: VoxTellNetwork) -> dict[str, torch.Tensor]:
    """The network's tensors under every official name, aliases and unused ones (zeros) included: loads officially."""
    own = network.state_dict()
    official = dict(own)
    official.update({f"decoder.{name}": tensor for name, tensor in own.items() if name.startswith("encoder.")})
    width = network.sizes.query_dim
    shapes: Mapping[str, tuple[int, ...]] = {
        "self_attn.in_proj_weight": (3 * width, width),
        "self_attn.in_proj_bias": (3 * width,),
        "self_attn.out_proj.weight": (width, width),
        "self_attn.out_proj.bias": (width,),
        "norm1.weight": (width,),
        "norm1.bias": (width,),
    }
    for layer in range(network.sizes.transformer_layers):
        for name in UNUSED:
            official[f"transformer_decoder.layers.{layer}.{name}"] = torch.zeros(shapes[name])
    if not network.deep_supervision:
        for i, stage in enumerate(network.decoder.stages):
            channels = int(stage.output_channels)  # type: ignore[arg-type]
            official[f"decoder.seg_layers.{i}.weight"] = torch.zeros(1, channels + network.sizes.mask_heads, 1, 1, 1)
            official[f"decoder.seg_layers.{i}.bias"] = torch.zeros(1)
    return official

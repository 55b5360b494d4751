"""The sizes of a VoxTell network that no official plans.json states. Ours does, under `voxtell_dicom`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from voxtell_dicom.errors import ModelError


@dataclass(frozen=True)
class Sizes:
    """Widths and counts beside the image encoder's; the defaults are those of the official v1.1 checkpoint."""

    text_embedding_dim: int = 2560  # values of a prompt vector
    text_hidden_dim: int = 2048
    query_dim: int = 2048  # width of the prompt decoder
    transformer_layers: int = 6
    transformer_heads: int = 8
    transformer_ffn_dim: int = 2048
    decoder_layer: int = 4  # which encoder stage is the memory of the prompt decoder, from 0
    mask_stages: int = 5  # image-decoder stages that see the prompt
    mask_heads: int = 32  # fusion maps of a stage
    mask_hidden_dim: int = 2048

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> Sizes:
        """data: the sizes that differ from the official ones. Raises ModelError for an unknown or impossible one."""
        known = {f.name for f in fields(cls)}
        for name, value in data.items():
            if name not in known:
                raise ModelError(f"plans.json: unknown size {name!r}; known are {', '.join(sorted(known))}")
            if not isinstance(value, int) or isinstance(value, bool) or value < (0 if name == "decoder_layer" else 1):
                raise ModelError(f"plans.json: size {name!r} must be a positive whole number, not {value!r}")
        return cls(**dict(data))

    def __post_init__(self) -> None:
        if self.query_dim % self.transformer_heads:
            raise ModelError(f"query_dim {self.query_dim} is not a multiple of {self.transformer_heads} heads")

"""The prompt decoder: prompt vectors look at the image's tokens, each prompt for itself.

What its pre-norm layers compute is cross-attention and a feed-forward network; the self-attention and the first norm
that official state dicts carry are never used (see `UNUSED`), so no prompt sees another.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

UNUSED = ("self_attn.in_proj_weight", "self_attn.in_proj_bias", "self_attn.out_proj.weight",
          "self_attn.out_proj.bias", "norm1.weight", "norm1.bias")  # fmt: skip


class CrossAttention(nn.Module):
    """Multi-head attention whose parameters are named and laid out as in torch.nn.MultiheadAttention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def keys_values(self, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """keys, values: (batch, tokens, width). Returns both projected: (batch, heads, tokens, width/heads)."""
        _, wk, wv = self.in_proj_weight.chunk(3)
        _, bk, bv = self.in_proj_bias.chunk(3)
        return self._split(F.linear(keys, wk, bk)), self._split(F.linear(values, wv, bv))

    def forward(self, query: torch.Tensor, kv: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """query: (batch, prompts, width); kv: from `keys_values`. Returns (batch, prompts, width)."""
        width = query.shape[-1]
        q = self._split(F.linear(query, self.in_proj_weight[:width], self.in_proj_bias[:width]))
        keys, values = kv
        scores = (q * math.sqrt(1 / q.shape[-1])) @ keys.transpose(-2, -1)  # as nn.MultiheadAttention rounds
        attended = torch.softmax(scores, dim=-1) @ values
        merged: torch.Tensor = self.out_proj(attended.transpose(1, 2).flatten(2))
        return merged

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


class PromptDecoderLayer(nn.Module):
    """t += CrossAttn(norm2(t), memory + pos, memory); t += FFN(norm3(t))."""

    def __init__(self, width: int, heads: int, ffn_dim: int) -> None:
        super().__init__()
        self.multihead_attn = CrossAttention(width, heads)
        self.linear1 = nn.Linear(width, ffn_dim)
        self.linear2 = nn.Linear(ffn_dim, width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, t: torch.Tensor, kv: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """t: (batch, prompts, width); kv: this layer's keys and values of the window."""
        t = t + self.multihead_attn(self.norm2(t), kv)
        out: torch.Tensor = t + self.linear2(F.relu(self.linear1(self.norm3(t))))
        return out


class PromptDecoder(nn.Module):
    """The stack of layers and the final norm."""

    def __init__(self, width: int, layers: int, heads: int, ffn_dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(PromptDecoderLayer(width, heads, ffn_dim) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def look(self, memory: torch.Tensor, pos: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Each layer's keys and values of one window: they do not depend on the prompts.

        memory: (batch, tokens, width); pos: (1, tokens, width).
        """
        keyed = memory + pos
        looks = []
        for layer in self.layers:
            assert isinstance(layer, PromptDecoderLayer)
            looks.append(layer.multihead_attn.keys_values(keyed, memory))
        return looks

    def forward(self, t: torch.Tensor, looks: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
        """t: (batch, prompts, width); looks: from `look`. Returns (batch, prompts, width)."""
        for layer, kv in zip(self.layers, looks, strict=True):
            t = layer(t, kv)
        out: torch.Tensor = self.norm(t)
        return out

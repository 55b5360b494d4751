"""One prompt's way through the decoder as a CUDA graph: one launch instead of one for each kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from voxtell_dicom.engine.fast_decoder import Shared, Top


class PromptGraph:
    """A decoder captured once and replayed for every prompt of every window.

    A graph reads and writes the memory it was captured with: what the prompts of a window share is copied there once
    for each window, the embeddings for each prompt. That costs the memory of a second set of both.
    """

    def __init__(self, decode: Callable[[Shared, Sequence[torch.Tensor]], Top]) -> None:
        """decode: what to capture; one prompt at a time, of the same shapes always."""
        self._decode = decode
        self._shared: Shared | None = None  # where the graph reads
        self._embeddings: list[torch.Tensor] = []
        self._captured: tuple[torch.cuda.CUDAGraph, Top] | None = None

    def begin(self, shared: Shared) -> None:
        """Begin a window, to which the prompts that follow belong."""
        if self._shared is None:
            self._shared = shared
            return
        for static, new in zip(_tensors(self._shared), _tensors(shared), strict=True):
            static.copy_(new)

    def replay(self, embeddings: Sequence[torch.Tensor]) -> Top:
        """embeddings: of one prompt, full resolution first, each (1, heads, C). The result lasts until the next."""
        if self._captured is None:
            self._captured = self._capture(embeddings)
        graph, top = self._captured
        for static, new in zip(self._embeddings, embeddings, strict=True):
            static.copy_(new)
        graph.replay()
        return top

    def _capture(self, embeddings: Sequence[torch.Tensor]) -> tuple[torch.cuda.CUDAGraph, Top]:
        assert self._shared is not None
        self._embeddings = [e.clone() for e in embeddings]
        self._decode(self._shared, self._embeddings)  # compiles what is compiled at its first use
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            top = self._decode(self._shared, self._embeddings)
        return graph, top


def _tensors(shared: Shared) -> list[torch.Tensor]:
    return [shared.lowest.rows, *shared.skips]

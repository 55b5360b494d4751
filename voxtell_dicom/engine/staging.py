"""Logits from a GPU to sums on the host, through pinned memory, without stopping the GPU."""

from __future__ import annotations

from collections.abc import Callable

import torch

Use = Callable[[torch.Tensor], None]


class Staging:
    """Two pinned buffers take turns: one is used on the host while the other is filled by the GPU."""

    def __init__(self) -> None:
        self._buffers: list[torch.Tensor] = []
        self._turn = 0
        self._coming: tuple[torch.Tensor, torch.cuda.Event, Use] | None = None

    def send(self, values: torch.Tensor, use: Use) -> None:
        """Start to copy `values`, on a CUDA device, to the host; `use` gets them when they are there: see `flush`."""
        if not self._buffers:
            self._buffers = [torch.empty(values.shape, dtype=values.dtype, pin_memory=True) for _ in range(2)]
        buffer = self._buffers[self._turn]
        self._turn = 1 - self._turn
        buffer.copy_(values, non_blocking=True)
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        copied.record()
        before, self._coming = self._coming, (buffer, copied, use)
        _use(before)

    def flush(self) -> None:
        """Wait for what is under way, and use it."""
        before, self._coming = self._coming, None
        _use(before)


def _use(sent: tuple[torch.Tensor, torch.cuda.Event, Use] | None) -> None:
    if sent is not None:
        buffer, copied, use = sent
        copied.synchronize()
        use(buffer)

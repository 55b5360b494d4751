"""The windows' patches on the device, each copied while the one before is computed."""

from __future__ import annotations

import torch

from voxtell_dicom.engine.windows import Windows

Start = tuple[int, ...]


class Patches:
    """Patches of a volume, in the order in which they will be asked for.

    On CUDA the next one travels from pinned memory on a stream of its own while the kernels of the current one run; two
    pinned buffers take turns. On a CPU there is nothing to overlap with: a patch is a copy in the same memory.
    """

    def __init__(self, volume: torch.Tensor, windows: Windows, starts: list[Start]) -> None:
        """volume: (z, y, x), padded, on the host."""
        self._volume = volume
        self._patch = windows.patch
        self._starts = starts
        self._coming: tuple[int, torch.device, torch.Tensor, torch.cuda.Event] | None = None
        self._pinned: list[torch.Tensor] = []
        self._stream: torch.cuda.Stream | None = None

    def get(self, index: int, device: torch.device) -> torch.Tensor:
        """The patch of window `index` on `device`, contiguous."""
        if device.type != "cuda":
            return self._view(index).contiguous().to(device)
        if self._coming is None or self._coming[:2] != (index, device):
            self._send(index, device)
        assert self._coming is not None
        _, _, patch, sent = self._coming
        current = torch.cuda.current_stream(device)
        current.wait_event(sent)
        patch.record_stream(current)
        return patch

    def prepare(self, index: int, device: torch.device) -> None:
        """Start to copy the patch of window `index`, if there is one: when the current one is under way."""
        if device.type == "cuda" and index < len(self._starts):
            self._send(index, device)

    def _send(self, index: int, device: torch.device) -> None:
        if not self._pinned:
            self._pinned = [torch.empty(self._patch, pin_memory=True) for _ in range(2)]
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        assert self._stream is not None
        self._stream.synchronize()  # the copy before last has long left this buffer; so has the last
        buffer = self._pinned[index % 2]
        buffer.copy_(self._view(index))
        with torch.cuda.stream(self._stream):
            patch = buffer.to(device, non_blocking=True)
            sent = torch.cuda.Event()  # type: ignore[no-untyped-call]
            sent.record(self._stream)
        self._coming = (index, device, patch, sent)

    def _view(self, index: int) -> torch.Tensor:
        at = tuple(slice(s, s + p) for s, p in zip(self._starts[index], self._patch, strict=True))
        return self._volume[at]

"""One window through the network: the image once, then each prompt."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch

from voxtell_dicom.engine.cpu import use_direct_convolutions
from voxtell_dicom.engine.fast_decoder import FastDecoder, can_be_folded
from voxtell_dicom.engine.network import VoxTellNetwork


class WindowModel:
    """The network on its device, asked window by window. float16 autocast on CUDA, float32 on a CPU."""

    def __init__(self, network: VoxTellNetwork, device: torch.device, *, exact: bool = False) -> None:
        """exact: the plain image decoder, prompt by prompt."""
        self.network = network
        self.device = device
        self._half = device.type == "cuda"
        self._fast = None
        if not exact and device.type == "cpu":
            use_direct_convolutions(network.encoder)
        if not exact and can_be_folded(network):
            with torch.inference_mode():
                self._fast = FastDecoder(network, torch.float16 if self._half else torch.float32)

    def logits(self, patch: torch.Tensor, prompts: torch.Tensor, first: int = 0) -> Iterator[tuple[int, torch.Tensor]]:
        """patch: (z, y, x), z-scored; prompts: (N, text_embedding_dim), both on the device.

        Yields (prompt, its logits (1, z, y, x)) for the prompts from `first` on.
        """
        with self._autocast():
            skips = self.network.encode(patch[None, None])
            embeddings = [e[:, first:] for e in self.network.ask(self.network.look(skips), prompts[None])]
        if self._fast is not None:
            with self._autocast():
                shared = self._fast.share(skips)
            del skips
            for n, logits in enumerate(self._fast.logits(shared, [e[0] for e in embeddings])):
                yield first + n, logits[None]
            return
        for n in range(embeddings[0].shape[1]):
            with self._autocast():
                logits = self.network.decoder(skips, [e[:, n] for e in embeddings])[0][0]
            yield first + n, logits

    def time_decoder(self, patch: torch.Tensor, prompts: torch.Tensor) -> float:
        """Seconds that the image decoder takes for a window, its prompt-free part included: for the benchmark."""
        assert self._fast is not None
        with self._autocast():
            skips = self.network.encode(patch[None, None])
            embeddings = [e[0] for e in self.network.ask(self.network.look(skips), prompts[None])]
            self._wait()
            start = time.perf_counter()
            for _ in self._fast.logits(self._fast.share(skips), embeddings):
                pass
        self._wait()
        return time.perf_counter() - start

    def _wait(self) -> None:
        if self._half:
            torch.cuda.synchronize(self.device)

    def _autocast(self) -> torch.autocast:
        return torch.autocast("cuda", torch.float16, enabled=self._half)

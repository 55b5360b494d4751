"""One window through the network: the image once, the prompts in batches."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from voxtell_dicom.engine.network import VoxTellNetwork


class WindowModel:
    """The network on its device, asked window by window."""

    def __init__(self, network: VoxTellNetwork, device: torch.device, *, exact: bool = False) -> None:
        self.network = network
        self.device = device
        self.exact = exact

    def logits(self, patch: torch.Tensor, prompts: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
        """patch: (z, y, x), z-scored; prompts: (N, text_embedding_dim). Yields (first prompt, logits (n, z, y, x)).

        float16 autocast on CUDA, float32 on a CPU.
        """
        with torch.autocast("cuda", torch.float16, enabled=self.device.type == "cuda"):
            skips = self.network.encode(patch[None, None])
            embeddings = self.network.ask(self.network.look(skips), prompts[None])
            for n in range(prompts.shape[0]):
                yield n, self.network.decoder(skips, [e[:, n] for e in embeddings])[0][0]

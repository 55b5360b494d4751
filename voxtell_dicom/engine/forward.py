"""One window through the network: the image once, then each prompt."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from voxtell_dicom.engine.cpu import computes_bfloat16
from voxtell_dicom.engine.fast_decoder import FastDecoder, can_be_folded
from voxtell_dicom.engine.fused_encoder import FusedEncoder, can_be_fused
from voxtell_dicom.engine.kernels.choose import ops_for
from voxtell_dicom.engine.kernels.twin import TorchOps
from voxtell_dicom.engine.network import VoxTellNetwork
from voxtell_dicom.errors import ModelError


class WindowModel:
    """The network on its device, asked window by window.

    float16 on CUDA (`startup.trusted_model` sees to it that this is right there), float32 on a CPU. bfloat16: the image
    decoder of a CPU with AVX-512 BF16 in half the width, a third of the time less, and not exact: of a random network,
    1 % of the mask voxels differ (benchmarks/engine.py --bfloat16). Off unless asked for.
    """

    def __init__(
        self,
        network: VoxTellNetwork,
        device: torch.device,
        *,
        exact: bool = False,
        bfloat16: bool = False,
        float32: bool = False,
        ops: TorchOps | None = None,
    ) -> None:
        """exact: the plain image decoder, prompt by prompt; float32: the same, in float32 on CUDA, too.

        ops: instead of those that suit the device. Raises ModelError where bfloat16 cannot be computed.
        """
        self.network = network
        self.device = device
        self.encoded = 0  # how often the encoder has run
        self._type = torch.float32
        if device.type == "cuda":
            self._type = torch.float32 if float32 else torch.float16
            # Every window has the same shape; the official predictor sets it, too.
            torch.backends.cudnn.benchmark = True
        elif bfloat16:
            if not computes_bfloat16():
                raise ModelError("this CPU computes no convolutions in bfloat16: leave that option off")
            self._type = torch.bfloat16
        self._fast: FastDecoder | None = None
        self._fused: FusedEncoder | None = None
        self.kernels = "none"  # which of the operations of `kernels` are in use
        if exact or float32:
            return
        ops = ops or ops_for(device.type, device.index or 0)
        self.kernels = ops.name
        with torch.inference_mode():
            if can_be_folded(network):
                self._fast = FastDecoder(network, self._type, ops)
            if ops.name == "triton" and can_be_fused(network.encoder):
                self._fused = FusedEncoder(network.encoder, self._type, ops)

    @property
    def way(self) -> str:
        """How it computes, in words: "float16, triton kernels"."""
        return f"{str(self._type).removeprefix('torch.')}, {f'{self.kernels} kernels' if self._fast else 'plain'}"

    def logits(self, patch: torch.Tensor, prompts: torch.Tensor, first: int = 0) -> Iterator[tuple[int, torch.Tensor]]:
        """patch: (z, y, x), z-scored; prompts: (N, text_embedding_dim), both on the device.

        Yields (prompt, its logits (1, z, y, x)) for the prompts from `first` on.
        """
        skips, embeddings = self._look_and_ask(patch, prompts, first)
        if self._fast is not None:
            with self._autocast():
                shared = self._fast.share(skips)
            for n, logits in enumerate(self._fast.logits(shared, [e[0] for e in embeddings])):
                yield first + n, logits[None]
            return
        for n in range(embeddings[0].shape[1]):
            with self._autocast():
                logits = self.network.decoder(skips, [e[:, n] for e in embeddings])[0][0]
            yield first + n, logits

    def accumulate(
        self, patch: torch.Tensor, prompts: torch.Tensor, first: int, importance: torch.Tensor, targets: torch.Tensor
    ) -> Iterator[int]:
        """As `logits`, but added to `targets` (N, z, y, x), float16 on the device, times `importance` (z, y, x).

        Yields each prompt's number when it has been added.
        """
        if self._fast is None:
            for prompt, logits in self.logits(patch, prompts, first):
                targets[prompt] += logits[0] * importance
                yield prompt
            return
        skips, embeddings = self._look_and_ask(patch, prompts, first)
        with self._autocast():
            shared = self._fast.share(skips)
        for n in self._fast.accumulate(shared, [e[0] for e in embeddings], importance, targets[first:]):
            yield first + n

    def wait(self) -> None:
        """Until all that was asked is computed: a GPU runs behind."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _look_and_ask(
        self, patch: torch.Tensor, prompts: torch.Tensor, first: int
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        self.encoded += 1
        with self._autocast():
            image = patch[None, None]
            skips = self.network.encode(image) if self._fused is None else self._fused(image)
            embeddings = self.network.ask(self.network.look(skips), prompts[None])
        return skips, [e[:, first:] for e in embeddings]

    def _autocast(self) -> torch.autocast:
        return torch.autocast("cuda", torch.float16, enabled=self._type == torch.float16)

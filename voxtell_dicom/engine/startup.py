"""Whether a network on a card computes what float32 computes there: asked once, before a series depends on it.

Small inputs do not tell: a convolution library may be wrong for large ones only (cuDNN 9.10.2 in bfloat16:
pytorch#163539). So a whole window of noise is run, with two prompts.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from voxtell_dicom.engine.fast_decoder import launches
from voxtell_dicom.engine.forward import WindowModel
from voxtell_dicom.engine.kernels.choose import card_in_words, ops_for, tuned_ops
from voxtell_dicom.engine.kernels.twin import TorchOps
from voxtell_dicom.engine.memory import ran_out
from voxtell_dicom.engine.network import VoxTellNetwork

_log = logging.getLogger(__name__)
_PROMPTS = 2
_BOUND = 0.1  # root mean square of what logits differ by, in parts of their own; float16 differs by 1e-2 or less


def trusted_model(
    network: VoxTellNetwork,
    device: torch.device,
    *,
    exact: bool = False,
    bfloat16: bool = False,
    storage: Path | None = None,
) -> WindowModel:
    """The fastest way through the network that agrees with float32 on this very device; what was seen is logged.

    A CPU computes in float32 (or was told not to): nothing is asked of it. Where the card's memory is too short for a
    window in float32, the fastest way is taken unasked, with a warning. storage: where the settings of the kernels are
    stored that were measured on this card. Raises ModelError where bfloat16 cannot be computed.
    """
    if device.type != "cuda":
        return WindowModel(network, device, exact=exact, bfloat16=bfloat16)
    torch.cuda.set_device(device.index or 0)  # where Triton and CUDA graphs launch: not where their tensors are
    where = card_in_words(device)
    generator = torch.Generator().manual_seed(0)
    patch = torch.randn(network.patch_size, generator=generator).to(device)
    prompts = torch.randn(_PROMPTS, network.sizes.text_embedding_dim, generator=generator).to(device)
    reference = WindowModel(network, device, float32=True)
    try:
        expected = _logits(reference, patch, prompts)
    except RuntimeError as error:
        if not ran_out(error):
            raise
        torch.cuda.empty_cache()
        _log.warning("not compared with float32 on %s: no memory for a window", where)
        return next(_ways(network, device, exact, storage))
    for model in _ways(network, device, exact, storage):
        try:
            off = _difference(_logits(model, patch, prompts), expected)
        except Exception as error:  # a kernel that the card cannot launch, in many ways: the next does the work then
            _log.warning("%s on %s fails, and is not used: %s: %s", model.way, where, type(error).__name__, error)
            continue
        finally:
            torch.cuda.empty_cache()
        if off <= _BOUND:
            _log.info("%s on %s differs from float32 by %.1e", model.way, where, off)
            model.encoded = 0
            return model
        _log.warning("%s on %s is wrong, and not used: it differs from float32 by %.1e", model.way, where, off)
    _log.warning("the network computes in float32 on %s: slowly", where)
    reference.encoded = 0
    return reference


def _ways(network: VoxTellNetwork, device: torch.device, exact: bool, storage: Path | None) -> Iterator[WindowModel]:
    """From the fastest on."""
    if not exact:
        ops = tuned_ops(device, launches(network), storage)
        yield WindowModel(network, device, ops=ops)
        if ops.way != TorchOps.way:
            yield WindowModel(network, device, ops=ops_for(device.type, device.index or 0))
        if ops.name == "triton":
            yield WindowModel(network, device, ops=TorchOps())
    yield WindowModel(network, device, exact=True)


@torch.inference_mode()
def _logits(model: WindowModel, patch: torch.Tensor, prompts: torch.Tensor) -> torch.Tensor:
    """As a pass has them: added to sums, weighted (here by 1)."""
    sums = torch.zeros((_PROMPTS, *patch.shape), dtype=torch.float16, device=patch.device)
    list(model.accumulate(patch, prompts, 0, torch.ones_like(sums[0]), sums))
    return sums.float()


def _difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Infinite where a value is none."""
    off: Any = (found - expected).square().mean().sqrt() / expected.square().mean().sqrt().clamp_min(1e-6)
    return float(off) if torch.isfinite(off) else float("inf")

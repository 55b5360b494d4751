"""Whether a network on a card computes what float32 computes there: asked once, before a series depends on it.

Small inputs do not tell: a convolution library may be wrong for large ones only (cuDNN 9.10.2 in bfloat16:
pytorch#163539). So a whole window of noise is run, with one prompt.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import torch

from voxtell_dicom.engine.forward import WindowModel
from voxtell_dicom.engine.kernels.choose import card_in_words
from voxtell_dicom.engine.kernels.twin import TorchOps
from voxtell_dicom.engine.memory import ran_out
from voxtell_dicom.engine.network import VoxTellNetwork

_log = logging.getLogger(__name__)
_BOUND = 0.1  # root mean square of what logits differ by, in parts of their own; float16 differs by 1e-2 or less


def trusted_model(
    network: VoxTellNetwork,
    device: torch.device,
    patch_size: tuple[int, int, int],
    prompt_values: int,
    *,
    exact: bool = False,
    bfloat16: bool = False,
) -> WindowModel:
    """The fastest way through the network that agrees with float32 on this very device; what was seen is logged.

    prompt_values: in one prompt's vector. A CPU computes in float32 (or was told not to): nothing is asked of it. Where
    the card's memory is too short for a window in float32, the fastest way is taken unasked, with a warning. Raises
    ModelError where bfloat16 cannot be computed.
    """
    if device.type != "cuda":
        return WindowModel(network, device, exact=exact, bfloat16=bfloat16)
    where = card_in_words(device)
    generator = torch.Generator().manual_seed(0)
    patch = torch.randn(patch_size, generator=generator).to(device)
    prompt = torch.randn(1, prompt_values, generator=generator).to(device)
    reference = WindowModel(network, device, float32=True)
    try:
        expected = _logits(reference, patch, prompt)
    except RuntimeError as error:
        if not ran_out(error):
            raise
        torch.cuda.empty_cache()
        _log.warning("not compared with float32 on %s: no memory for a window", where)
        return WindowModel(network, device, exact=exact)
    for model in _ways(network, device, exact):
        try:
            off = _difference(_logits(model, patch, prompt), expected)
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


def _ways(network: VoxTellNetwork, device: torch.device, exact: bool) -> Iterator[WindowModel]:
    """From the fastest on."""
    fastest = WindowModel(network, device, exact=exact)
    yield fastest
    if fastest.kernels == "triton":
        yield WindowModel(network, device, ops=TorchOps())
    if not exact:
        yield WindowModel(network, device, exact=True)


@torch.inference_mode()
def _logits(model: WindowModel, patch: torch.Tensor, prompt: torch.Tensor) -> torch.Tensor:
    """As a pass has them: added to sums, weighted (here by 1)."""
    sums = torch.zeros((1, *patch.shape), dtype=torch.float16, device=patch.device)
    list(model.accumulate(patch, prompt, 0, torch.ones_like(sums[0]), sums))
    return sums.float()


def _difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Infinite where a value is none."""
    off: Any = (found - expected).square().mean().sqrt() / expected.square().mean().sqrt().clamp_min(1e-6)
    return float(off) if torch.isfinite(off) else float("inf")

"""The same state dict in the official network and in ours: the same logits."""

from __future__ import annotations

import torch

from tests.oracles import engine_oracle as oracle
from voxtell_dicom.engine.network import VoxTellNetwork
from voxtell_dicom.engine.network.state import is_alias, is_unused, official_state_dict

BOUND = 1e-5


def _inputs(patch: tuple[int, int, int], prompts: int, batch: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, 1, *patch, generator=generator), torch.randn(batch, prompts, 2560, generator=generator)


def test_small_network_gives_the_official_logits_on_a_patch_that_is_no_cube() -> None:
    theirs = oracle.official_model(oracle.SMALL_SIZES, oracle.SMALL_ARCH, oracle.SMALL_PATCH)
    oracle.randomise(theirs)
    ours = VoxTellNetwork(oracle.SMALL_SIZES, oracle.SMALL_ARCH, oracle.SMALL_PATCH).eval()
    missing, unexpected = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert missing == []
    assert all(is_alias(name) or is_unused(name) for name in unexpected)
    image, prompts = _inputs(oracle.SMALL_PATCH, 3)
    with torch.inference_mode():
        expected, got = theirs(image, prompts), ours(image, prompts)
    assert expected.std() > 1e-3
    assert oracle.close(got, expected) <= BOUND


def test_the_position_table_is_the_official_one() -> None:
    theirs = oracle.official_model(oracle.SMALL_SIZES, oracle.SMALL_ARCH, oracle.SMALL_PATCH)
    ours = VoxTellNetwork(oracle.SMALL_SIZES, oracle.SMALL_ARCH, oracle.SMALL_PATCH)
    assert torch.equal(ours.pos_embed, theirs.pos_embed)


def test_deep_supervision_and_gradients_are_the_official_ones() -> None:
    patch = (32, 32, 64)
    theirs = oracle.official_model(oracle.SMALL_SIZES, oracle.SMALL_ARCH, patch, deep_supervision=True)
    oracle.randomise(theirs)
    ours = VoxTellNetwork(oracle.SMALL_SIZES, oracle.SMALL_ARCH, patch, deep_supervision=True)
    assert ours.load_state_dict(theirs.state_dict(), strict=False).missing_keys == []
    image, prompts = _inputs(patch, 2, batch=2)
    expected, got = theirs(image, prompts), ours(image, prompts)
    assert [o.shape for o in got] == [o.shape for o in expected]
    assert all(oracle.close(a, b) <= BOUND for a, b in zip(got, expected, strict=True))
    sum(o.square().mean() for o in expected).backward()
    sum(o.square().mean() for o in got).backward()
    grads = dict(theirs.named_parameters())
    largest = max(float(p.grad.abs().max()) for p in ours.parameters() if p.grad is not None)
    for name, parameter in ours.named_parameters():
        expected_grad = grads[name].grad
        if expected_grad is None:  # the last seg layer: the full resolution's logit needs none
            assert parameter.grad is None, name
            continue
        assert parameter.grad is not None, name
        scale = max(float(expected_grad.abs().max()), 1e-2 * largest)  # a bias before a norm has none but rounding
        assert float((parameter.grad - expected_grad).abs().max()) <= 1e-3 * scale, name


def test_our_weights_load_officially() -> None:
    ours = VoxTellNetwork(oracle.SMALL_SIZES, oracle.SMALL_ARCH, oracle.SMALL_PATCH).eval()
    ours.initialise()
    theirs = oracle.official_model(oracle.SMALL_SIZES, oracle.SMALL_ARCH, oracle.SMALL_PATCH)
    theirs.load_state_dict(official_state_dict(ours))
    image, prompts = _inputs(oracle.SMALL_PATCH, 2)
    with torch.inference_mode():
        assert oracle.close(ours(image, prompts), theirs(image, prompts)) <= BOUND

"""The training tool in small: it computes what the network computes, the loss falls, the export loads officially."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from voxtell_dicom.engine.network.state import official_state_dict

PATCH = (32, 32, 64)
SIZES = {
    "text_hidden_dim": 64, "query_dim": 24, "transformer_layers": 1, "transformer_ffn_dim": 32, "mask_heads": 2,
    "mask_hidden_dim": 16,
}  # fmt: skip


@pytest.fixture
def training(tool):
    torch.manual_seed(3)
    return tool("train_phantom")


@pytest.fixture
def network(training):
    arch = {**training.ARCH, "features_per_stage": [4, 4, 8, 8, 8, 8], "n_blocks_per_stage": [1] * 6}
    return training.build(arch, SIZES, PATCH)


def test_sharing_the_prompt_free_half_changes_nothing(training, network) -> None:
    image, prompts = torch.randn(1, 1, *PATCH), torch.randn(3, 2560)
    with torch.no_grad():
        plain = network(image, prompts[None])
        shared = training.shared_forward(network, image, prompts)
    assert len(plain) == len(shared) == 5
    for one, other in zip(plain, shared, strict=True):
        assert torch.allclose(one[0], other[:, 0], rtol=1e-3, atol=1e-4)


def test_the_loss_falls_within_a_few_steps(training, network) -> None:
    rng = np.random.default_rng(5)
    trainable = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=4e-3)
    example = training.scan(rng, PATCH)
    vectors, masks = training.choose_prompts(rng, example.codes, 3)
    losses = [training.step(network, optimizer, trainable, example.image, vectors, masks) for _ in range(25)]
    finite = [loss for loss in losses if loss is not None]
    assert len(finite) >= 20
    assert np.mean(finite[-3:]) < 0.8 * np.mean(finite[:3])


def test_windows_hold_what_the_predictor_would_show(training) -> None:
    """z-scored over the volume, padded with 0; most prompts of what is there, and the masks are theirs."""
    rng = np.random.default_rng(8)
    for _ in range(5):
        example = training.scan(rng, training.PATCH)
        assert example.image.shape == example.codes.shape == training.PATCH
        padding = example.image == 0
        assert not example.codes[padding].any()
        assert -3 < example.image.min() < 0 < example.image.max() < 8
        vectors, masks = training.choose_prompts(rng, example.codes, 5)
        assert vectors.shape == (5, 2560)
        assert masks.shape == (5, 1, *training.PATCH)
        assert masks.flatten(1).any(1).sum() >= 2


def test_the_export_is_small_and_the_same_network(tool, network) -> None:
    state = official_state_dict(network)
    compact = tool("export_phantom").compact(state)
    assert set(compact) == set(state)
    for name, tensor in state.items():
        assert compact[name].shape == tensor.shape
        assert torch.allclose(compact[name].float(), tensor, rtol=1e-3, atol=1e-4), name
    stored = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in compact.values()}
    parameters = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert sum(stored.values()) < 2 * parameters + 4 * network.pos_embed.numel() + 20_000

"""A tiny model directory, written once, that every test of the engine may read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.oracles import engine_oracle as oracle
from voxtell_dicom.engine.bank import FILE, Bank
from voxtell_dicom.engine.network import VoxTellNetwork
from voxtell_dicom.engine.network.state import official_state_dict

PATCH = (32, 32, 32)
PROMPTS = ("liver", "right kidney", "spleen", "aorta", "bladder")


@pytest.fixture(scope="session")
def tiny_network() -> VoxTellNetwork:
    torch.manual_seed(0)
    network = VoxTellNetwork(oracle.SMALL_SIZES, oracle.SMALL_ARCH, PATCH)
    oracle.randomise(network, seed=2)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def tiny_directory(tmp_path_factory: pytest.TempPathFactory, tiny_network: VoxTellNetwork) -> Path:
    holder = torch.nn.Module()
    holder.state_dict = lambda: official_state_dict(tiny_network)  # type: ignore[method-assign,assignment]
    where = tmp_path_factory.mktemp("models") / "tiny"
    oracle.write_official_directory(where, holder, oracle.SMALL_SIZES, oracle.SMALL_ARCH, PATCH)
    rng = np.random.default_rng(1)
    Bank({p: rng.standard_normal(2560).astype(np.float16) for p in PROMPTS}).write(where / FILE)
    return where

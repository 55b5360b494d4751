"""Once at the official sizes: 440 M parameters, a 64³ patch, weights shared between both networks."""

from __future__ import annotations

import torch

from tests.oracles import engine_oracle as oracle
from voxtell_dicom.engine.forward import WindowModel
from voxtell_dicom.engine.network import Sizes, VoxTellNetwork
from voxtell_dicom.engine.network.state import needed

PATCH = (64, 64, 64)


def test_full_size_logits_are_the_official_ones() -> None:
    theirs = oracle.official_model(Sizes(), oracle.FULL_ARCH, PATCH)
    oracle.randomise(theirs)
    assert 400e6 < sum(p.numel() for p in theirs.parameters()) < 480e6
    with torch.device("meta"):
        ours = VoxTellNetwork(Sizes(), oracle.FULL_ARCH, PATCH).eval()
    state = theirs.state_dict()
    ours.load_state_dict({name: state[name] for name in needed(state)}, strict=False, assign=True)
    assert not any(tensor.is_meta for tensor in ours.state_dict().values())
    generator = torch.Generator().manual_seed(1)
    image, prompts = torch.randn(1, 1, *PATCH, generator=generator), torch.randn(1, 3, 2560, generator=generator)
    with torch.inference_mode():
        expected = theirs(image, prompts)[0]
        for exact in (True, False):
            got = torch.empty_like(expected)
            for first, logits in WindowModel(ours, torch.device("cpu"), exact=exact).logits(image[0, 0], prompts[0]):
                got[first : first + logits.shape[0]] = logits
            assert oracle.close(got, expected) <= 1e-5, "exact" if exact else "fast"
            differing = (got > 0) != (expected > 0)
            # One voxel of these 786,432 is more than a millionth: two at logit 0 are chance, a third would not be.
            assert int(differing.sum()) <= 2
            assert not differing.any() or float(expected[differing].abs().max()) <= 1e-5 * float(expected.abs().max())

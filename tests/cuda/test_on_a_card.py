"""The engine on a real CUDA device: kernels in use, the phantom's structures found, the masks of the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.phantom.test_model import AXIAL, dice, masks, scan
from voxtell_dicom.engine import phantom_directory
from voxtell_dicom.engine.kernels import choose
from voxtell_dicom.engine.kernels.selftest import difference
from voxtell_dicom.engine.kernels.triton_ops import TritonOps
from voxtell_dicom.engine.predictor import Predictor
from voxtell_dicom.phantom import LABELS, demo_acquisition
from voxtell_dicom.phantom.anatomy import label_mask

pytestmark = pytest.mark.cuda
SEED = 7001


@pytest.fixture(scope="module")
def on_card() -> Predictor:
    return Predictor.load(phantom_directory(), device="cuda")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_kernels_agree_with_their_twins_on_this_card(dtype: torch.dtype) -> None:
    bound = 2e-2 if dtype == torch.float16 else 1e-1  # bfloat16 has three bits less
    assert difference(TritonOps(), torch.device("cuda", 0), dtype) < bound


def test_the_kernels_are_in_use() -> None:
    choose.ops_for.cache_clear()
    assert choose.ops_for("cuda").name == "triton"


def test_every_structure_is_found_with_the_masks_of_the_cpu(on_card: Predictor) -> None:
    image, codes = scan(SEED, demo_acquisition(SEED), AXIAL)
    here = masks(on_card, image, LABELS)
    there = masks(Predictor.load(phantom_directory(), device="cpu"), image, LABELS)
    assert min(dice(here[label], label_mask(codes, label)) for label in LABELS) >= 0.90
    differing = {label: float(np.mean(here[label] ^ there[label])) for label in LABELS}
    assert max(differing.values()) < 1e-3, differing
    report = on_card.last_run
    assert report is not None
    assert report.device.startswith("cuda")
    assert report.encoded == report.windows > 1
    assert report.peak_device_bytes > 0
    assert report.steps == ()


def test_half_precision_is_no_further_from_float32_than_the_plain_way_is(on_card: Predictor) -> None:
    """Both in float16 on the card, the plain way by torch's autocast as the official one; float32 is the CPU's."""
    image, _ = scan(SEED, demo_acquisition(SEED), AXIAL)
    exact = masks(Predictor.load(phantom_directory(), device="cpu"), image, LABELS)
    ours = masks(on_card, image, LABELS)
    plain = masks(Predictor.load(phantom_directory(), device="cuda", exact=True), image, LABELS)

    def voxels(other: dict[str, np.ndarray]) -> int:
        return sum(int((exact[label] ^ other[label]).sum()) for label in LABELS)

    assert voxels(ours) <= 2 * voxels(plain) + 10

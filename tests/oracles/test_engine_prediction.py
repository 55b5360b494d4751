"""A whole sliding-window prediction beside the official predictor's, from the same directory and bank."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.oracles import engine_oracle as oracle
from voxtell_dicom.engine.bank import Bank
from voxtell_dicom.engine.checkpoint import convert
from voxtell_dicom.engine.predictor import Predictor
from voxtell_dicom.model import Request

PATCH = (32, 32, 64)
PROMPTS = ["liver", "Right Kidney", "spleen"]
SPACING = (1.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = oracle.official_model(oracle.SMALL_SIZES, oracle.SMALL_ARCH, PATCH)
    oracle.randomise(model, seed=3)
    where = tmp_path_factory.mktemp("model") / "small"
    oracle.write_official_directory(where, model, oracle.SMALL_SIZES, oracle.SMALL_ARCH, PATCH)
    rng = np.random.default_rng(5)
    Bank({p: rng.standard_normal(2560).astype(np.float16) for p in PROMPTS}).write(where / "text_embeddings.npz")
    return where


def _volume(shape: tuple[int, int, int]) -> np.ndarray:
    """Noise within a border of zeros, so that cropping has something to do."""
    rng = np.random.default_rng(7)
    volume = np.zeros(shape, np.float32)
    inner = tuple(slice(3, n - 5) for n in shape)
    volume[inner] = rng.normal(40, 300, volume[inner].shape)
    return volume


@dataclass(frozen=True)
class Official:
    """What the official predictor makes of a volume."""

    volume: np.ndarray
    inside: tuple[slice, ...]
    logits: np.ndarray
    masks: np.ndarray


@pytest.fixture(scope="module", params=[(50, 48, 110), (25, 40, 90)], ids=["many windows", "padded along z"])
def official(request: pytest.FixtureRequest, directory: Path) -> Official:
    bank = dict(_official_bank(directory))
    predictor = oracle.official_predictor(directory, oracle.SMALL_SIZES, oracle.SMALL_ARCH, PATCH, bank)
    volume = _volume(request.param)
    data, box, _ = predictor.preprocess(volume)
    logits = predictor.predict_sliding_window_return_logits(data, predictor.embed_text_prompts(PROMPTS))
    masks = predictor.predict_single_image(volume, PROMPTS).astype(bool)
    return Official(volume, tuple(slice(*b) for b in box), logits.float().numpy(), masks)


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "fast"])
def test_masks_are_the_official_ones(directory: Path, official: Official, exact: bool) -> None:
    predictor = Predictor.load(directory, device="cpu", exact=exact)
    volume, shape, inside = official.volume, official.volume.shape, official.inside
    segments = list(predictor.segment(volume, SPACING, [Request(p, probability=True) for p in PROMPTS]))
    assert [s.request.prompt for s in segments] == PROMPTS
    for segment, mask, theirs in zip(segments, official.masks, official.logits, strict=True):
        ours = segment.mask.to_array(shape)
        assert 0.05 < mask[inside].mean() < 0.95, "the random network must be worth comparing"
        differing = ours != mask
        assert differing.sum() <= max(2, 1e-6 * mask.size)  # of 1e5 voxels, two at logit 0 are chance
        assert np.abs(theirs[differing[inside]]).max(initial=0) < 0.01 * np.abs(theirs).max()
        assert segment.voxels == ours.sum()
        probability = 1 / (1 + np.exp(-theirs))
        assert segment.mean_probability == pytest.approx(probability[ours[inside]].mean(), abs=1e-3)
        sure = (probability > 0.3) & (probability < 0.7)
        assert segment.uncertain_share == pytest.approx(sure.sum() / (probability > 0.3).sum(), abs=1e-3)
        z, y, x = (slice(*r) for r in segment.box_zyx)
        whole = np.zeros(shape, np.float32)
        whole[inside] = probability
        inside_box = ours[z, y, x]
        assert np.abs(segment.probability - whole[z, y, x])[inside_box].max() < 2e-3
        assert not segment.probability[~inside_box].any(), "nothing below the threshold"


def test_the_safetensors_file_gives_the_same_identity_and_logits(directory: Path, tmp_path: Path) -> None:
    target = tmp_path / "converted"
    target.mkdir()
    for name in ("plans.json", "text_embeddings.npz"):
        (target / name).write_bytes((directory / name).read_bytes())
    convert(directory, target)
    before, after = Predictor.load(directory, device="cpu"), Predictor.load(target, device="cpu")
    assert before.identity == after.identity
    volume = _volume((25, 80, 100))
    requests = [Request("liver")]
    assert list(before.segment(volume, SPACING, requests)) == list(after.segment(volume, SPACING, requests))


def _official_bank(directory: Path) -> dict[str, np.ndarray]:
    with np.load(directory / "text_embeddings.npz") as data:
        return dict(zip(map(str, data["labels"]), data["embeddings"], strict=True))


def test_gaussian_steps_and_padding_are_nnunets() -> None:
    from acvl_utils.cropping_and_padding.padding import pad_nd_image
    from nnunetv2.inference.sliding_window_prediction import compute_gaussian, compute_steps_for_sliding_window

    from voxtell_dicom.engine.windows import importance, windows_over

    for patch, shape in [
        ((32, 64, 96), (60, 90, 131)),
        ((8, 12, 10), (7, 12, 41)),
        ((192, 192, 192), (1000, 512, 511)),
    ]:
        windows = windows_over(shape, patch)
        padded = tuple(max(a, b) for a, b in zip(shape, patch, strict=True))
        assert windows.padded == padded
        assert [list(s) for s in windows.starts] == compute_steps_for_sliding_window(padded, patch, 0.5)
        if patch[0] < 100:
            theirs = compute_gaussian(patch, 1 / 8, 10, device=torch.device("cpu"))
            assert torch.equal(torch.from_numpy(importance(patch)), theirs)
            _, revert = pad_nd_image(torch.zeros(1, *shape), patch, "constant", {"value": 0}, True, None)
            assert windows.before == tuple(s.start for s in revert[1:])

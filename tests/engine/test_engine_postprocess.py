from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from voxtell_dicom.engine import open_engine
from voxtell_dicom.engine.postprocess import cleaned
from voxtell_dicom.engine.predictor import Predictor
from voxtell_dicom.engine.resample import resample, resampled_shape
from voxtell_dicom.model import Cleanup, Mask, Request, Resampling, Segment

SHAPE = (40, 40, 36)


def _pieces() -> np.ndarray:
    """A hollow cube of 6³ with a hole of 2³, a cube of 4³, a single voxel touching the latter by a corner, a speck."""
    array = np.zeros((20, 20, 20), bool)
    array[2:8, 2:8, 2:8] = True
    array[4:6, 4:6, 4:6] = False
    array[12:16, 12:16, 12:16] = True
    array[16, 16, 16] = True
    array[19, 0, 0] = True
    return array


def test_each_step_does_what_it_says() -> None:
    array = _pieces()
    mask = Mask.from_array(array)
    filled = array.copy()
    filled[4:6, 4:6, 4:6] = True
    spacing = (2.0, 1.0, 1.0)  # 2 mm³ a voxel
    assert cleaned(mask, Cleanup(), spacing) is mask
    assert np.array_equal(cleaned(mask, Cleanup(fill_holes=True), spacing).to_array(array.shape), filled)
    largest = np.zeros_like(array)
    largest[2:8, 2:8, 2:8] = array[2:8, 2:8, 2:8]
    assert np.array_equal(cleaned(mask, Cleanup(largest_component=True), spacing).to_array(array.shape), largest)
    big = array.copy()
    big[19, 0, 0] = False
    kept = cleaned(mask, Cleanup(minimum_ml=0.130), spacing)  # 65 voxels: the cube and the voxel at its corner
    assert np.array_equal(kept.to_array(array.shape), big)
    assert cleaned(mask, Cleanup(minimum_ml=0.132), spacing).voxels == largest.sum()
    nothing = cleaned(mask, Cleanup(minimum_ml=10), spacing)
    assert (nothing.voxels, nothing.packed_bits) == (0, b"")


def test_resampling_there_and_back_keeps_the_place() -> None:
    ramp = np.add.outer(np.add.outer(np.arange(30.0), 2 * np.arange(24.0)), 3 * np.arange(20.0)).astype(np.float32)
    shape = resampled_shape(ramp.shape, (0.75, 1.0, 2.0), 1.5)
    assert shape == (15, 16, 27)
    there = resample(ramp, shape)
    assert there.shape == shape
    back = resample(there, ramp.shape)
    assert np.abs(back - ramp)[3:-3, 3:-3, 3:-3].max() < 1.0
    assert np.abs(np.mean(back - ramp)) < 0.05, "a shift by part of a voxel would show in the mean of a ramp"


@pytest.fixture(scope="module")
def predictor(tiny_directory: Path) -> Predictor:
    engine = open_engine(directory=tiny_directory, device="cpu")
    assert isinstance(engine, Predictor)
    return engine


def _volume() -> np.ndarray:
    return np.random.default_rng(3).normal(0, 100, SHAPE).astype(np.float32)


def _masks(segments: list[Segment]) -> dict[str, np.ndarray]:
    return {s.request.prompt: s.mask.to_array(SHAPE) for s in segments}


def test_an_exclusive_group_shares_no_voxel_and_loses_none(predictor: Predictor) -> None:
    prompts = ["liver", "spleen", "aorta"]
    free = _masks(list(predictor.segment(_volume(), (1, 1, 1), [Request(p) for p in prompts])))
    grouped = [Request(p, exclusive_group="organs", probability=True) for p in prompts[:2]] + [Request("aorta")]
    segments = list(predictor.segment(_volume(), (1, 1, 1), grouped))
    masks = _masks(segments)
    assert (free["liver"] & free["spleen"]).any(), "otherwise nothing is shown"
    assert not (masks["liver"] & masks["spleen"]).any()
    assert np.array_equal(masks["liver"] | masks["spleen"], free["liver"] | free["spleen"])
    assert np.array_equal(masks["aorta"], free["aorta"])
    both = free["liver"] & free["spleen"]
    probability = {}
    for segment in segments[:2]:
        probability[segment.request.prompt] = np.zeros(SHAPE, np.float32)
        probability[segment.request.prompt][segment.mask.slices] = segment.probability
    contested = both & (np.abs(probability["liver"] - probability["spleen"]) > 1e-2)
    assert np.array_equal(masks["liver"][contested], (probability["liver"] > probability["spleen"])[contested])


def test_a_request_is_run_at_its_own_spacing_in_a_pass_of_its_own(predictor: Predictor) -> None:
    resampling = Resampling(spacing_mm=1.5, finer_than_mm=0.8)
    windows: list[tuple[int, int]] = []
    requests = [
        Request("liver"),
        Request("spleen", resampling=resampling),
        Request("spleen", 0.7, resampling=resampling),
    ]
    segments = list(
        predictor.segment(_volume(), (0.6, 0.6, 0.6), requests, progress=lambda a, b: windows.append((a, b)))
    )
    assert [s.request for s in segments] == requests
    assert windows[-1][0] == windows[-1][1] == 8 + 1  # 16 × 16 × 14 voxels are one window
    half, strict = (s.mask.to_array(SHAPE) for s in segments[1:])
    assert not (strict & ~half).any()
    direct = next(iter(predictor.segment(_volume(), (0.6, 0.6, 0.6), [Request("liver")])))
    assert direct.packed_bits == segments[0].packed_bits
    coarse = resample(_volume(), (16, 16, 14))
    (alone,) = predictor.segment(coarse, (1.5, 1.5, 1.5), [Request("spleen", threshold=1e-4, probability=True)])
    probability = np.zeros((16, 16, 14), np.float32)
    probability[alone.mask.slices] = alone.probability
    assert np.array_equal(half, resample(probability, SHAPE) > 0.5)
    untouched = list(predictor.segment(_volume(), (1.0, 1.0, 1.0), [Request("spleen", resampling=resampling)]))
    assert (
        untouched[0].packed_bits == next(iter(predictor.segment(_volume(), (1, 1, 1), [Request("spleen")]))).packed_bits
    )

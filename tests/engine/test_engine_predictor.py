from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from voxtell_dicom.engine import open_engine, phantom_directory
from voxtell_dicom.engine.accumulator import Accumulator
from voxtell_dicom.engine.predictor import Predictor
from voxtell_dicom.engine.windows import importance, windows_over
from voxtell_dicom.errors import ModelError, Refusal, UnknownPrompt
from voxtell_dicom.model import Request

SPACING = (1.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def predictor(tiny_directory: Path) -> Predictor:
    engine = open_engine(directory=tiny_directory, device="cpu")
    assert isinstance(engine, Predictor)
    return engine


def _volume(shape: tuple[int, int, int] = (40, 40, 36)) -> np.ndarray:
    return np.random.default_rng(3).normal(0, 100, shape).astype(np.float32)


def test_requests_share_prompts_and_keep_their_thresholds(predictor: Predictor) -> None:
    requests = [Request("liver"), Request("LIVER", 0.7), Request("spleen", probability=True)]
    by_request = {s.request: s for s in predictor.segment(_volume(), SPACING, requests)}
    assert set(by_request) == set(requests)
    half, strict = by_request[requests[0]], by_request[requests[1]]
    assert 0 < strict.voxels < half.voxels
    assert not (strict.mask.to_array((40, 40, 36)) & ~half.mask.to_array((40, 40, 36))).any()
    probability = by_request[requests[2]].probability
    assert probability is not None
    assert probability.shape == by_request[requests[2]].mask.box_shape
    assert half.probability is None


def test_progress_counts_every_window_once(predictor: Predictor) -> None:
    seen: list[tuple[int, int]] = []
    list(predictor.segment(_volume(), SPACING, [Request("liver")], progress=lambda a, b: seen.append((a, b))))
    total = len(windows_over((40, 40, 36), predictor.patch_size))
    assert total == 2 * 2 * 2
    assert seen == [(n, total) for n in range(1, total + 1)]


def test_cancelling_stops_before_the_next_window_and_gives_nothing(predictor: Predictor) -> None:
    done: list[int] = []
    segments = predictor.segment(
        _volume(), SPACING, [Request("liver")], progress=lambda n, _: done.append(n), cancelled=lambda: len(done) == 3
    )
    assert list(segments) == []
    assert done == [1, 2, 3]


def test_cancelling_does_not_wait_for_the_windows_other_prompts(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    accumulate = predictor._model.accumulate

    def counted(*arguments: Any) -> Iterator[int]:
        for prompt in accumulate(*arguments):
            asked.append(prompt)
            yield prompt

    monkeypatch.setattr(predictor._model, "accumulate", counted)
    requests = [Request("liver"), Request("spleen"), Request("aorta")]
    assert list(predictor.segment(_volume(), SPACING, requests, cancelled=lambda: len(asked) == 5)) == []
    assert asked == [0, 1, 2, 0, 1]


def test_a_volume_of_zeros_gives_empty_segments(predictor: Predictor) -> None:
    (segment,) = predictor.segment(np.zeros((40, 40, 36), np.float32), SPACING, [Request("liver")])
    assert segment.voxels == 0
    assert not segment.mask.to_array((40, 40, 36)).any()


def test_what_cannot_be_run_is_refused(predictor: Predictor) -> None:
    assert predictor.unknown(["Liver", "nonsense"]) == ["nonsense"]
    with pytest.raises(UnknownPrompt, match="nonsense"):
        list(predictor.segment(_volume(), SPACING, [Request("nonsense")]))
    volume = _volume()
    volume[3, 4, 5] = np.nan
    with pytest.raises(Refusal, match="not finite"):
        list(predictor.segment(volume, SPACING, [Request("liver")]))
    with pytest.raises(ModelError, match="cuda:99"):
        open_engine(directory="/nowhere", device="cuda:99")


def test_what_official_callers_give_is_taken_or_named(predictor: Predictor) -> None:
    volume = np.random.default_rng(3).normal(0, 100, (20, 30, 33)).astype(np.float32)
    (one,) = predictor.predict(volume, "Liver")
    assert one.shape == volume.shape
    assert np.array_equal(one, predictor.predict(volume, ["liver"])[0])
    with pytest.raises(Refusal, match=r"three axes \(z, y, x\), not the shape \(1, 20, 30, 33\): is it array\[0\]"):
        predictor.predict(volume[None], ["liver"])
    with pytest.raises(Refusal, match="beyond 1e19"):
        predictor.predict(volume * 1e25, ["liver"])


def test_the_sliding_slab_sums_what_a_dense_array_would() -> None:
    """Against a plain dense sum, with padding along x and three positions along z."""
    shape, patch = (21, 12, 9), (8, 8, 12)
    windows = windows_over(shape, patch)
    requests = [[Request("a")], [Request("b", 0.6), Request("b", 0.2)]]
    accumulator = Accumulator(windows, requests, torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    dense = torch.zeros((2, *windows.padded), dtype=torch.float16)
    weight = torch.zeros(windows.padded, dtype=torch.float16)
    bell = torch.from_numpy(importance(patch))
    for z in windows.starts[0]:
        for y in windows.starts[1]:
            for x in windows.starts[2]:
                logits = torch.randn(2, *patch, generator=generator)
                at = (slice(z, z + 8), slice(y, y + 8), slice(x, x + 12))
                dense[(slice(None), *at)] += logits * bell
                weight[at] += bell
                accumulator.begin_window((z, y, x))
                accumulator.add((z, y, x), 0, logits[0].clone())
                accumulator.add((z, y, x), 1, logits[1].clone())
    assert len(windows.starts[0]) > 3
    expected = (dense / weight)[:, :, :, windows.before[2] : windows.before[2] + shape[2]]
    volume_shape = (30, 20, 20)
    segments = accumulator.finish((5, 6, 7))
    cutoffs = [0.0, float(np.log(0.6 / 0.4)), float(np.log(0.2 / 0.8))]
    for segment, prompt, cutoff in zip(segments, [0, 1, 1], cutoffs, strict=True):
        mask = np.zeros(volume_shape, bool)
        mask[5:26, 6:18, 7:16] = (expected[prompt] > cutoff).numpy()
        assert np.array_equal(segment.mask.to_array(volume_shape), mask)
        assert segment.voxels == mask.sum()


def test_the_phantoms_model_names_itself_wherever_it_lies(tmp_path: Path) -> None:
    copied = shutil.copytree(phantom_directory(), tmp_path / "voxtell_v1.1")
    assert "phantom" in Predictor.load(copied, device="cpu").identity

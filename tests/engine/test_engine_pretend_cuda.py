"""The lines for CUDA, run without a card: right order, right patches, right sums. Nothing about speed."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.engine.pretend_cuda import pretend_cuda, twins_for_launches
from voxtell_dicom.engine.forward import WindowModel
from voxtell_dicom.engine.kernels import choose
from voxtell_dicom.engine.kernels.tiles import Way
from voxtell_dicom.engine.kernels.twin import TorchOps
from voxtell_dicom.engine.network import VoxTellNetwork
from voxtell_dicom.engine.patches import Patches
from voxtell_dicom.engine.predictor import Predictor
from voxtell_dicom.engine.staging import Staging
from voxtell_dicom.engine.windows import windows_over
from voxtell_dicom.model import Request

CUDA = torch.device("cuda", 0)
CPU = torch.device("cpu")
SHAPE = (40, 40, 36)
REQUESTS = [Request("liver"), Request("spleen")]


def _volume() -> np.ndarray:
    return np.random.default_rng(3).normal(0, 100, SHAPE).astype(np.float32)


def test_patches_come_in_any_order_prepared_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    volume = torch.from_numpy(_volume())
    windows = windows_over(SHAPE, (16, 16, 16))
    starts = windows.all_starts
    with pretend_cuda(monkeypatch):
        patches = Patches(volume, windows, starts)
        kept = []
        for index in (0, 1, 2, 2, 5, len(starts) - 1):  # 2 again: memory ran out meanwhile
            kept.append((index, patches.get(index, CUDA).clone()))
            patches.prepare(index + 1, CUDA)
        kept.append((3, patches.get(3, CPU)))  # the network has moved
    for index, patch in kept:
        z, y, x = starts[index]
        assert torch.equal(patch, volume[z : z + 16, y : y + 16, x : x + 16])


def test_staged_logits_arrive_once_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    with pretend_cuda(monkeypatch):
        staging = Staging()
        for value in range(5):
            staging.send(torch.full((2, 2), float(value)), lambda there: seen.append(float(there[0, 0])))
            assert seen == [float(n) for n in range(value)], "the one before, while this one travels"
        staging.flush()
        staging.flush()
    assert seen == [0.0, 1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("free_bytes", [80 << 30, 1 << 10], ids=["roomy", "short"])
def test_a_pass_on_cuda_gives_the_masks_of_the_cpu(
    tiny_directory: Path, monkeypatch: pytest.MonkeyPatch, free_bytes: int
) -> None:
    expected = list(Predictor.load(tiny_directory, device="cpu").segment(_volume(), (1, 1, 1), REQUESTS))
    choose.ops_for.cache_clear()
    with pretend_cuda(monkeypatch, free_bytes) as asked:
        predictor = Predictor.load(tiny_directory, device="cuda:0")
        assert predictor.device == CUDA
        got = list(predictor.segment(_volume(), (1, 1, 1), REQUESTS))
    choose.ops_for.cache_clear()
    assert asked.count("synchronize") == 8, "once a window: progress must not run ahead of the card"
    report = predictor.last_run
    assert report is not None
    assert (report.device, report.peak_device_bytes) == ("cuda:0", 123)
    assert len(report.steps) == (free_bytes < 1 << 20), "the sums go to the host where the card has no room"
    for ours, theirs in zip(got, expected, strict=True):
        differing = ours.mask.to_array(SHAPE) ^ theirs.mask.to_array(SHAPE)
        assert differing.mean() < 0.01, "float16 against float32"


class Counting(TorchOps):
    """The twins, which note how many prompts a launch has."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self.launched: list[int] = []

    def upconv(self, x, weights, skip, layout):  # type: ignore[no-untyped-def]
        self.launched.append(weights.shape[0])
        return super().upconv(x, weights, skip, layout)


def _sums(network: VoxTellNetwork, ops: TorchOps) -> torch.Tensor:
    """Return the sums of five prompts in each of three windows, one model for all."""
    generator = torch.Generator().manual_seed(5)
    model = WindowModel(network, CUDA, ops=ops)
    found = []
    with torch.inference_mode():
        for _ in range(3):
            image, prompts = torch.randn(32, 32, 32, generator=generator), torch.randn(5, 2560, generator=generator)
            sums = torch.zeros(5, 32, 32, 32, dtype=torch.float16)
            ones = torch.ones(32, 32, 32, dtype=torch.float16)
            assert list(model.accumulate(image, prompts, 1, ones, sums)) == [1, 2, 3, 4]
            found.append(sums)
    return torch.stack(found)


@pytest.mark.parametrize(
    ("way", "free_bytes", "largest"),
    [(Way(group=3), 80 << 30, 3), (Way(group=3), 0, 1), (Way(graph=True), 80 << 30, 1)],
    ids=["groups of three", "groups, no memory", "a graph"],
)
def test_the_way_prompts_are_launched_changes_no_result(
    tiny_network: VoxTellNetwork, monkeypatch: pytest.MonkeyPatch, way: Way, free_bytes: int, largest: int
) -> None:
    with pretend_cuda(monkeypatch, free_bytes):
        plain, other = Counting(Way()), Counting(way)
        assert torch.equal(_sums(tiny_network, plain), _sums(tiny_network, other))
    assert set(plain.launched) == {1}
    assert max(other.launched) == largest
    if way.graph:  # four stages: once to compile, once to capture; the rest is replayed
        assert len(other.launched) == 8


def test_a_pass_uses_what_was_measured(
    tiny_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Loaded, tuned, stored, held against float32, and used for a volume; the second load measures nothing."""
    caplog.set_level(logging.INFO)
    expected = list(Predictor.load(tiny_directory, device="cpu").segment(_volume(), (1, 1, 1), REQUESTS))
    choose.ops_for.cache_clear()
    with pretend_cuda(monkeypatch):
        twins_for_launches(monkeypatch)
        for said in ("measured now on a card that is none", "measured before on a card that is none"):
            predictor = Predictor.load(tiny_directory, device="cuda:0", storage=tmp_path)
            assert predictor._model.way == "float16, triton kernels"
            assert said in caplog.text
        got = list(predictor.segment(_volume(), (1, 1, 1), REQUESTS))
    choose.ops_for.cache_clear()
    assert [path.name.partition("-")[0] for path in (tmp_path / "engine").iterdir()] == ["tiles"]
    for ours, theirs in zip(got, expected, strict=True):
        differing = ours.mask.to_array(SHAPE) ^ theirs.mask.to_array(SHAPE)
        assert differing.mean() < 0.01, "float16 against float32"

"""What a card computes wrongly is not used: whole windows are held against float32 when a model is loaded."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.engine.pretend_cuda import pretend_cuda
from voxtell_dicom.engine import forward, startup
from voxtell_dicom.engine.forward import WindowModel
from voxtell_dicom.engine.kernels.choose import _driver_version
from voxtell_dicom.engine.kernels.twin import TorchOps
from voxtell_dicom.engine.predictor import Predictor

NO_OPS = TorchOps()


class Wrong(TorchOps):
    name = "triton"

    def dot_accumulate(self, rows, scale, shift, slope, embedding, layout, importance, target):  # type: ignore[no-untyped-def]
        super().dot_accumulate(rows, scale, shift, slope, embedding.flip(0), layout, importance, target)


class Failing(TorchOps):
    name = "triton"

    def upconv(self, x, weights, skip, layout):  # type: ignore[no-untyped-def]
        raise RuntimeError("out of resource: shared memory")


@pytest.fixture
def load(tiny_directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    monkeypatch.setattr(startup, "tuned_ops", lambda *_: NO_OPS)
    caplog.set_level(logging.INFO)

    def loaded(**options: Any) -> tuple[WindowModel, str]:
        caplog.clear()
        with pretend_cuda(monkeypatch):
            predictor = Predictor.load(tiny_directory, device="cuda:0", **options)
            return predictor._model, caplog.text

    return loaded


def spoilt(monkeypatch: pytest.MonkeyPatch, half_only: bool) -> None:
    whole = WindowModel.accumulate

    def accumulate(self: WindowModel, patch: Any, prompts: Any, first: int, importance: Any, targets: Any) -> Any:
        if half_only and self.way.startswith("float16"):
            targets += 3
        if not half_only and self.way.startswith("float32"):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(self, patch, prompts, first, importance, targets)

    monkeypatch.setattr(WindowModel, "accumulate", accumulate)


@pytest.mark.parametrize(("exact", "way"), [(False, "float16, torch kernels"), (True, "float16, plain")])
def test_what_agrees_is_used_and_the_log_says_on_what(load: Any, exact: bool, way: str) -> None:
    model, said = load(exact=exact)
    assert model.way == way
    assert model.encoded == 0, "the check is no window of a series"
    assert f"{way} on a card that is none, torch {torch.__version__}, CUDA" in said
    assert "cuDNN" in said
    assert "driver unknown, Triton " in said
    assert " differs from float32 by " in said


@pytest.mark.parametrize(("ops", "words"), [(Wrong(), "is wrong"), (Failing(), "fails")])
def test_wrong_kernels_give_way_to_their_twins(
    load: Any, monkeypatch: pytest.MonkeyPatch, ops: TorchOps, words: str
) -> None:
    monkeypatch.setattr(startup, "tuned_ops", lambda *_: ops)
    monkeypatch.setattr(forward, "can_be_fused", lambda _: False)  # it pools in float16, which no CPU does
    model, said = load()
    assert model.way == "float16, torch kernels"
    assert "float16, triton kernels on a card that is none" in said
    assert words in said


def test_where_half_precision_is_wrong_the_card_computes_in_float32(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    spoilt(monkeypatch, half_only=True)
    model, said = load()
    assert model.way == "float32, plain"
    assert said.count("is wrong, and not used") == 2
    assert "slowly" in said


def test_a_card_that_is_too_small_for_float32_is_not_refused(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    spoilt(monkeypatch, half_only=False)
    model, said = load()
    assert model.way == "float16, torch kernels"
    assert "not compared with float32" in said


def test_kernels_are_launched_on_the_card_that_was_named(tiny_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton and CUDA graphs go by the current device, whatever device their tensors are on."""
    chosen: list[int] = []
    monkeypatch.setattr(startup, "tuned_ops", lambda *_: NO_OPS)
    with pretend_cuda(monkeypatch):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
        for name in ("cuda:1", "cuda"):
            Predictor.load(tiny_directory, device=name)
    assert chosen == [1, 0]


def test_a_cpu_is_asked_nothing(tiny_directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert Predictor.load(tiny_directory, device="cpu")._model.way == "float32, torch kernels"
    assert "float32" not in caplog.text


def test_the_driver_is_named(tmp_path: Path) -> None:
    said = tmp_path / "version"
    said.write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build\nGCC version: 12\n"
    )
    assert _driver_version(said) == "580.159.04"
    said.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n")
    assert _driver_version(said) == "535.104.05"
    assert _driver_version(tmp_path / "absent") == "unknown"

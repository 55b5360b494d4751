"""An engine that may embed prompts itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from tests.oracles.test_engine_text import make_qwen
from voxtell_dicom.engine import open_engine
from voxtell_dicom.engine.bank import Bank
from voxtell_dicom.engine.checkpoint import load_checkpoint
from voxtell_dicom.engine.predictor import Predictor
from voxtell_dicom.engine.text import TextModel
from voxtell_dicom.model import Request


def test_an_engine_with_a_text_model_embeds_what_its_bank_lacks(tmp_path: Path, tiny_directory: Path) -> None:
    words = make_qwen(tmp_path / "words", 2560)
    lacking = Predictor.load(tiny_directory, device="cpu")
    assert lacking.unknown(["liver", "hepar"]) == ["hepar"]
    engine = open_engine(directory=tiny_directory, device="cpu", text_model=str(words))
    before = engine.identity
    assert engine.unknown(["liver", "hepar"]) == []
    assert engine.identity == before != lacking.identity
    volume = np.random.default_rng(3).normal(0, 100, (32, 32, 32)).astype(np.float32)
    with TextModel(str(words), offline=True) as text:
        vectors = dict(zip(["hepar"], text.embed(["hepar"]), strict=True))
    by_hand = Predictor(load_checkpoint(tiny_directory), Bank(vectors), torch.device("cpu"))
    asked = [Request("hepar")]
    got, expected = (list(e.segment(volume, (1, 1, 1), asked)) for e in (engine, by_hand))
    assert got == expected
    absent = open_engine(directory=tiny_directory, device="cpu", text_model=str(tmp_path / "none"))
    assert absent.unknown(["liver", "hepar"]) == ["hepar"]

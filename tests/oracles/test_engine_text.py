"""A tiny random Qwen3 with a tokenizer made here: our vectors are the official predictor's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3Model
from typer.testing import CliRunner
from voxtell.inference.predictor import VoxTellPredictor
from voxtell.utils.text_embedding import wrap_with_instruction

from voxtell_dicom.cli import app
from voxtell_dicom.engine.bank import Bank
from voxtell_dicom.engine.text import TextModel, wrapped
from voxtell_dicom.errors import ModelError

PROMPTS = ["Liver", "right kidney", "a hypodense lesion in the left lobe of the liver", "aorta"] * 9


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_qwen(tmp_path_factory.mktemp("qwen"), 64)


def make_qwen(where: Path, width: int) -> Path:
    """A tiny random Qwen3 whose vectors have `width` values, with its tokenizer, as a folder."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<pad>", "<unk>"])
    tokenizer.train_from_iterator([wrapped(p) for p in PROMPTS], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>")
    fast.save_pretrained(where)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=fast.vocab_size, hidden_size=width, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, max_position_embeddings=512, pad_token_id=0,
    )  # fmt: skip
    Qwen3Model(config).save_pretrained(where)
    return where


def test_the_wrapped_text_is_the_official_one() -> None:
    assert [wrapped(p) for p in PROMPTS] == wrap_with_instruction([p.lower() for p in PROMPTS])


def test_vectors_are_the_official_ones(qwen: Path) -> None:
    official = VoxTellPredictor.__new__(VoxTellPredictor)  # its constructor wants 440 M weights; the text half does not
    official.device = torch.device("cpu")
    official._text_encoding_model = str(qwen)
    official.tokenizer = official.text_backbone = official.embedding_bank = None
    official.max_text_length = 8192
    expected = official.embed_text_prompts(PROMPTS)[0].numpy()
    with TextModel(str(qwen), offline=True) as text:
        got = text.embed(PROMPTS)
    assert got.shape == expected.shape == (len(PROMPTS), 64)
    assert np.abs(got - expected).max() <= 1e-6 * np.abs(expected).max()
    assert np.abs(expected[0] - expected[1]).max() > 1e-2, "prompts must differ for this to mean anything"


def test_for_a_word_that_is_not_in_the_bank_the_nearest_by_vector_are_named(qwen: Path, tmp_path: Path) -> None:
    words = ["aorta", "right kidney", "liver"]
    with TextModel(str(qwen), offline=True) as text:
        vectors = text.embed(words)
        asked = text.embed(["Hepar"])[0]
    Bank(dict(zip(words, vectors, strict=True))).write(tmp_path / "bank.npz")
    cosines = {
        w: float(v @ asked / np.linalg.norm(v) / np.linalg.norm(asked)) for w, v in zip(words, vectors, strict=True)
    }
    expected = sorted(words, key=lambda word: -cosines[word])
    command = ["model", "prompts", "hepar", "--bank", str(tmp_path / "bank.npz"), "--text-model", str(qwen)]
    answer = CliRunner().invoke(app, [*command, "--json"])
    assert answer.exit_code == 0, answer.output
    got = json.loads(answer.stdout)
    assert got["prompts"] == []
    assert [item["prompt"] for item in got["nearest_by_vector"]] == expected
    for item in got["nearest_by_vector"]:
        assert item["cosine"] == pytest.approx(cosines[item["prompt"]], abs=2e-3)  # the bank's are float16
    answer = CliRunner().invoke(app, command)
    assert answer.exit_code == 1
    assert f"by meaning: {expected[0]} (" in answer.output


def test_vectors_of_another_model_are_not_compared(qwen: Path, tmp_path: Path) -> None:
    Bank({"liver": np.ones(8, np.float16)}).write(tmp_path / "bank.npz")
    command = ["model", "prompts", "hepar", "--bank", str(tmp_path / "bank.npz"), "--text-model", str(qwen)]
    answer = CliRunner().invoke(app, command)
    assert answer.exit_code == 2, answer.output
    assert "vectors have 64 values, the bank's 8" in answer.output


def test_a_text_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nowhere"), TextModel(str(tmp_path / "nowhere"), offline=True):
        pass

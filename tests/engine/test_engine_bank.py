from __future__ import annotations

from pathlib import Path
from typing import IO

import numpy as np
import pytest
from voxtell.utils.embedding_bank import load_embedding_bank

from voxtell_dicom.engine.bank import FILE, Bank, find_bank
from voxtell_dicom.errors import ModelError, UnknownPrompt


def _bank() -> Bank:
    rng = np.random.default_rng(0)
    return Bank({p: rng.standard_normal(8).astype(np.float16) for p in ("Liver", "right kidney", "Left kidney")})


def test_it_is_written_as_the_official_code_reads_it_and_back(tmp_path: Path) -> None:
    bank = _bank()
    bank.write(tmp_path / FILE)
    official = load_embedding_bank(str(tmp_path / FILE))
    again = Bank.read(tmp_path / FILE)
    assert list(official) == again.prompts == ["left kidney", "liver", "right kidney"]
    assert np.array_equal(official["liver"], again.vectors(["LIVER"])[0].astype(np.float16))
    assert again.digest == bank.digest


def test_an_unknown_prompt_is_named_with_what_is_near_it() -> None:
    bank = _bank()
    with pytest.raises(UnknownPrompt, match=r"'livr'.*liver"):
        bank.vectors(["livr"])
    assert bank.nearest("kidney") == ["left kidney", "right kidney"]


def test_what_is_no_bank_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bank.npz"
    with pytest.raises(ModelError, match="missing"):
        Bank.read(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match="not a bank"):
        Bank.read(path)
    np.savez(path, labels=np.array(["a", "b"]), embeddings=np.zeros((1, 4), np.float16))
    with pytest.raises(ModelError, match="do not go together"):
        Bank.read(path)
    np.savez(path, labels=np.array([{"a": 1}], dtype=object), embeddings=np.zeros((1, 4), np.float16))
    with pytest.raises(ModelError, match="not a bank"):
        Bank.read(path)
    np.savez(path, labels=np.array(["a"]), embeddings=np.array([["1", "2"]]))
    with pytest.raises(ModelError, match="must be numbers"):
        Bank.read(path)


def test_it_is_written_to_the_very_name_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bank"
    _bank().write(path)
    assert [p.name for p in tmp_path.iterdir()] == ["bank"]

    def full(file: IO[bytes], **_arrays: object) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="No space"):
        Bank({"other": np.zeros(8)}).write(path)
    assert Bank.read(path).digest == _bank().digest
    assert [p.name for p in tmp_path.iterdir()] == ["bank"]


def test_the_bank_beside_a_model_is_found(tmp_path: Path) -> None:
    model = tmp_path / "voxtell_v1.1"
    model.mkdir()
    assert find_bank(model) is None
    hub = tmp_path / "embeddings" / "voxtell_v1.1" / FILE
    hub.parent.mkdir(parents=True)
    _bank().write(hub)
    assert find_bank(model) == hub
    _bank().write(model / FILE)
    assert find_bank(model) == model / FILE

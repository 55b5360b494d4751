from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from voxtell_dicom.engine.bank import FILE, Bank
from voxtell_dicom.engine.checkpoint import PICKLE, SAFETENSORS
from voxtell_dicom.engine.library import (
    OFFICIAL_LICENCE,
    import_model,
    inspect_model,
    list_models,
    named_directory,
    verify_model,
)
from voxtell_dicom.errors import ModelError


@pytest.fixture
def snapshot(tiny_directory: Path, tmp_path: Path) -> Path:
    """As the hub lays it out: the model, and its bank in a folder of its own."""
    root = tmp_path / "snapshot"
    shutil.copytree(tiny_directory, root / "voxtell_v1.1")
    bank = root / "embeddings" / "voxtell_v1.1" / "text_embeddings.npz"
    bank.parent.mkdir(parents=True)
    (root / "voxtell_v1.1" / "text_embeddings.npz").rename(bank)
    return root


def test_a_hub_snapshot_is_imported_whole(snapshot: Path, tmp_path: Path) -> None:
    before = inspect_model(snapshot / "voxtell_v1.1")
    info = import_model(snapshot, tmp_path / "models")
    assert info.digest == before.digest
    assert (info.format, before.format) == ("safetensors", "pickle")
    assert info.licence == OFFICIAL_LICENCE
    assert info.prompts == 5
    assert len(info.source_sha256) == 64
    target = tmp_path / "models" / "voxtell_v1.1"
    assert list_models(tmp_path / "models") == [target]
    assert sorted(p.name for p in target.iterdir()) == [
        "model.json", "model.safetensors", "plans.json", "text_embeddings.npz",
    ]  # fmt: skip
    assert verify_model(target) == []
    with pytest.raises(ModelError, match="there already"):
        import_model(snapshot, tmp_path / "models")


def test_the_model_card_states_the_licence(tiny_directory: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(tiny_directory, tmp_path / "mine"))
    assert "unknown" in inspect_model(source).licence
    (source / "README.md").write_text("---\nlicense: apache-2.0\n---\nMüller's words.\n", encoding="latin-1")
    assert inspect_model(source).licence == "apache-2.0"


def test_an_import_that_cannot_be_written_is_one_clear_error(snapshot: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match=r"cannot be imported as .*file/voxtell_v1\.1: .*Not a directory"):
        import_model(snapshot, tmp_path / "file")


def test_a_failed_import_leaves_nothing(snapshot: Path, tmp_path: Path) -> None:
    (snapshot / "voxtell_v1.1" / PICKLE).write_bytes(b"no")
    with pytest.raises(ModelError):
        import_model(snapshot, tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


def test_damage_is_told(snapshot: Path, tmp_path: Path) -> None:
    info = import_model(snapshot, tmp_path / "models", name="mine")
    weights = Path(info.directory) / SAFETENSORS
    data = bytearray(weights.read_bytes())
    data[-9] ^= 0x10
    weights.write_bytes(data)
    assert any("damaged" in line for line in verify_model(Path(info.directory)))
    plans = Path(info.directory) / "plans.json"
    changed = json.loads(plans.read_text())
    changed["voxtell_dicom"]["mask_heads"] = 4
    plans.write_text(json.dumps(changed))
    assert any("do not match plans.json" in line for line in verify_model(Path(info.directory)))


def test_damaged_safetensors_weights_that_are_no_numbers_and_a_strange_bank_are_not_imported(
    snapshot: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    first = Path(import_model(snapshot, models, name="first").directory)
    data = bytearray((first / SAFETENSORS).read_bytes())
    data[-9] ^= 0x10
    (first / SAFETENSORS).write_bytes(data)
    with pytest.raises(ModelError, match="damaged"):
        import_model(first, models, name="second")
    official = snapshot / "voxtell_v1.1"
    weights = torch.load(official / PICKLE, weights_only=False)  # made by the tests
    weights["network_weights"]["project_text_embed.0.bias"][0] = float("nan")
    torch.save(weights, official / PICKLE)
    with pytest.raises(ModelError, match=r"not finite numbers.*project_text_embed\.0\.bias"):
        import_model(snapshot, models, name="second")
    Bank({"liver": np.ones(8, np.float16)}).write(first / FILE)
    assert any("have 8 values, the model wants 2560" in line for line in verify_model(first))
    assert [p.name for p in models.iterdir()] == ["first"]


def test_the_hubs_own_cache_is_understood(snapshot: Path, tmp_path: Path) -> None:
    cache = tmp_path / "models--mrokuss--VoxTell"
    (cache / "snapshots").mkdir(parents=True)
    (cache / "refs").mkdir()
    snapshot.rename(cache / "snapshots" / "abc")
    assert import_model(cache, tmp_path / "one").name == "voxtell_v1.1"
    (cache / "snapshots" / "older").mkdir()
    with pytest.raises(ModelError, match="2 snapshots"):
        import_model(cache, tmp_path / "two")
    (cache / "refs" / "main").write_text("abc\n")
    assert import_model(cache, tmp_path / "three").prompts == 5


def test_where_the_model_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOXTELL_MODEL", raising=False)
    with pytest.raises(ModelError, match="VOXTELL_MODEL"):
        named_directory(None)
    monkeypatch.setenv("VOXTELL_MODEL", str(tmp_path))
    assert named_directory(None) == tmp_path
    with pytest.raises(ModelError, match="does not exist"):
        named_directory(tmp_path / "nowhere")

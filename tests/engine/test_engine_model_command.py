from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from voxtell_dicom.cli import app


def _run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["model", *arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_import_list_info_verify_prompts(tiny_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = str(tmp_path / "models")
    assert "no model" in _run("list", "--models", models)
    imported = json.loads(_run("import", str(tiny_directory), "--models", models, "--json"))
    assert imported["format"] == "safetensors"
    assert "licence" in _run("info", imported["directory"])
    (listed,) = json.loads(_run("list", "--models", models, "--json"))
    assert listed["digest"] == imported["digest"]
    monkeypatch.setenv("VOXTELL_MODEL", imported["directory"])
    assert "whole" in _run("verify")
    assert _run("prompts", "kidney").split("\n")[0] == "right kidney"
    assert "near it: spleen" in _run("prompts", "spleem", code=1)
    (tmp_path / "models" / "tiny" / "text_embeddings.npz").unlink()
    assert "no bank" in _run("verify", code=1)
    _run("info", str(tmp_path / "nowhere"), code=2)


def test_a_broken_model_is_named_and_the_others_are_listed(tiny_directory: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    _run("import", str(tiny_directory), "--models", str(models))
    (models / "torn").mkdir()
    (models / "torn" / "plans.json").write_text("{}")
    result = CliRunner().invoke(app, ["model", "list", "--models", str(models), "--json"])
    assert result.exit_code == 0
    assert [model["name"] for model in json.loads(result.stdout)] == ["tiny"]
    assert "broken: " in result.stderr
    assert "torn/plans.json is not a plans file" in result.stderr


def test_an_import_stays_below_its_folder(tiny_directory: Path, tmp_path: Path) -> None:
    for name in ("../out", str(tmp_path / "out"), "a/b", "..", ".hidden"):
        said = _run("import", str(tiny_directory), "--models", str(tmp_path / "models"), "--name", name, code=2)
        assert "is no name for a directory below" in said
    assert not list(tmp_path.iterdir())


def test_embedding_without_a_text_model_names_the_prompts(tmp_path: Path) -> None:
    out = _run("embed", "-p", "Liver", "-o", str(tmp_path / "bank.npz"), "--text-model", str(tmp_path / "none"), code=2)
    assert "'liver'" in out
    assert not (tmp_path / "bank.npz").exists()
    assert "is a directory" in _run("embed", "-p", "Liver", "-o", str(tmp_path), code=2), "before a model is loaded"

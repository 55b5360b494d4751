"""`init` writes a file that passes the check, asks only where somebody is there, and overwrites nothing."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner, Result

from voxtell_dicom.cli import app
from voxtell_dicom.rules import load_config


def init(path: Path, *flags: str) -> Result:
    return CliRunner().invoke(app, ["init", str(path), *flags])


@pytest.mark.parametrize("model", ["phantom", "threshold", "models/voxtell"])
def test_what_it_writes_is_right(tmp_path: Path, model: str) -> None:
    path = tmp_path / "site" / "node.yaml"
    flags = [
        "--ae-title",
        "AI 1",
        "--port",
        "104",
        "--pacs-ae",
        "PACS",
        "--pacs-host",
        "pacs.lan",
        "--pacs-port",
        "4242",
    ]
    done = init(path, *flags, "--model", model)
    assert done.exit_code == 0, done.output
    config = load_config(path)
    assert (config.node.ae_title, config.node.dimse.port, config.node.dimse.host) == ("AI 1", 104, "0.0.0.0")
    assert (config.peers["pacs"].ae_title, config.peers["pacs"].host) == ("PACS", "pacs.lan")
    assert (config.model.engine or str(config.model.directory)).endswith(model)
    assert config.node.storage == (tmp_path / "site/data").resolve()
    assert stat.S_IMODE(config.node.storage.stat().st_mode) == 0o700
    schema = json.loads((tmp_path / "site/node.schema.json").read_text())
    jsonschema.validate(yaml.safe_load(path.read_text()), schema)
    assert path.read_text().count("#") > 15


def test_defaults_keep_to_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOXTELL_MODEL", raising=False)
    done = init(tmp_path / "node.yaml")
    assert done.exit_code == 0
    config = load_config(tmp_path / "node.yaml")
    assert config.node.dimse.host == "127.0.0.1"
    assert config.model.engine == "phantom"
    assert "NOT FOR PATIENTS" in done.output


def test_refuses_to_overwrite(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    path.write_text("mine")
    assert init(path).exit_code == 2
    assert path.read_text() == "mine"
    assert init(path, "--force").exit_code == 0
    assert path.read_text() != "mine"


def test_wrong_answer_writes_nothing(tmp_path: Path) -> None:
    done = init(tmp_path / "node.yaml", "--ae-title", "A_TITLE_OF_SEVENTEEN")
    assert done.exit_code == 2
    assert "at most 16 characters" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = init(tmp_path / "file" / "node.yaml")
    assert done.exit_code == 1
    assert "Traceback" not in done.stderr

"""Mistakes of a first day: each message names the file or peer, what is wrong, and what to do."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from tests.system.peers.ports import free_port
from voxtell_dicom.cli import app
from voxtell_dicom.engine.bank import Bank

BANK = Bank({word: np.ones(4, np.float32) for word in ("spleen", "liver", "left kidney", "right kidney")})


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def node_yaml(folder: Path, **parts: Any) -> Path:
    """Write a node.yaml in JSON lines, one line for each part and each rule's prompt."""
    content = {"version": 1, "node": {"storage": str(folder / "data")}, "model": {"engine": "threshold"}, **parts}
    path = folder / "node.yaml"
    path.write_text(json.dumps(content, indent=1))
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model directory as far as `check` looks at it, with a bank."""
    folder = tmp_path / "model"
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text("{}")
    (folder / "fold_0/checkpoint_final.pth").write_bytes(b"")
    BANK.write(folder / "text_embeddings.npz")
    return folder


def test_a_misspelt_prompt_is_found_from_the_bank_alone(tmp_path: Path, model: Path) -> None:
    rule = {"name": "abdomen", "when": {"Modality": "CT"}, "prompts": ["liver", "spleeen"], "send_to": []}
    path = node_yaml(tmp_path, model={"directory": str(model)}, rules=[rule])
    line = next(number for number, text in enumerate(path.read_text().splitlines(), 1) if "spleeen" in text)
    done = run("check", "-c", str(path))
    assert done.exit_code == 1, done.output
    for words in ("abdomen", f"{path}:{line}", "'spleeen' is not in the bank; near it: spleen"):
        assert words in done.output
    assert "'liver'" not in done.output


def test_a_prompt_of_a_text_model_may_be_missing_in_the_bank(tmp_path: Path, model: Path) -> None:
    rule = {"name": "abdomen", "when": {"Modality": "CT"}, "prompts": ["pancreas"], "send_to": []}
    path = node_yaml(tmp_path, model={"directory": str(model), "text_model": "org/model"}, rules=[rule])
    done = run("check", "-c", str(path))
    assert done.exit_code == 0, done.output
    assert "'pancreas' is not in the bank: the text model embeds it" in done.output


def test_predict_says_at_once_that_a_folder_holds_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hub(*_arguments: Any, **_named: Any) -> None:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("voxtell_dicom.engine.library.published_bank", hub)
    (tmp_path / "image.nii.gz").write_bytes(b"")
    words = ("-i", str(tmp_path / "image.nii.gz"), "-o", str(tmp_path / "out"), "-p", "liver", "--device", "cpu")
    done = run("predict", "-m", str(tmp_path), *words)
    assert done.exit_code == 1
    assert f"{tmp_path} holds no plans.json" in done.output


def test_the_bank_that_is_listed_is_that_of_the_model(model: Path) -> None:
    done = run("predict", "--list-embeddings", "-m", str(model))
    assert done.exit_code == 0, done.output
    assert "4 precomputed embeddings" in done.output
    assert "left kidney" in done.output


@pytest.mark.parametrize(
    ("text", "line", "advice"),
    [
        ("version: 1\nnode:\n  ae_title: A\n   storage: x\n", 4, "check the indentation"),
        ("version: 1\nnode:\n\tae_title: A\n", 3, "a tab stands before the text: indent with spaces"),
        ("version: 1\nrules:\n  - name: a\n   when: {}\n", 4, "check the indentation"),
    ],
)
def test_wrong_indentation(tmp_path: Path, text: str, line: int, advice: str) -> None:
    path = tmp_path / "node.yaml"
    path.write_text(text)
    done = run("check", "-c", str(path))
    assert done.exit_code == 2
    assert f"{path}:{line}: not valid YAML" in done.output
    assert advice in done.output


def test_addresses_are_whole_where_the_output_is_no_terminal(tmp_path: Path) -> None:
    folder = tmp_path / ("a-long-name-" * 12)
    folder.mkdir()
    path = node_yaml(tmp_path, peers={"out": {"folder": str(folder)}})
    assert str(folder) in run("check", "-c", str(path)).stdout


def test_init_writes_where_the_other_commands_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("init").exit_code == 0
    assert (tmp_path / "config/node.yaml").is_file()
    assert "config/node.yaml" in run("check").stdout


def test_a_storage_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    storage = tmp_path / "file" / "data"
    path = node_yaml(tmp_path, node={"storage": str(storage), "dimse": {"host": "127.0.0.1", "port": free_port()}})
    for command, code in (("check", 1), ("serve", 1)):
        done = run(command, "-c", str(path))
        assert done.exit_code in (code, 2), done.output
        assert str(storage) in done.output
        assert "Traceback" not in done.output


def test_jobs_where_no_node_has_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = node_yaml(tmp_path, node={"storage": "data"})
    done = run("jobs", "list", "-c", str(path))
    assert done.exit_code == 2
    assert f"no node's storage at {tmp_path / 'data'}" in done.output
    assert not (tmp_path / "data").exists()


def test_a_misspelt_state_of_jobs(tmp_path: Path) -> None:
    done = run("jobs", "list", "--state", "deliverd", "-c", str(node_yaml(tmp_path)))
    assert done.exit_code == 2
    assert "there is no state 'deliverd'; the states are delivered" in done.output


def test_an_imported_model_is_right(tmp_path: Path) -> None:
    model = tmp_path / "imported"
    model.mkdir()
    (model / "plans.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"")
    done = run("check", "-c", str(node_yaml(tmp_path, model={"directory": str(model)})))
    assert done.exit_code == 0, done.output


def test_a_taken_port_is_named_before_the_model_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_arguments: Any, **_named: Any) -> None:
        raise AssertionError("the model was loaded first")

    monkeypatch.setattr("voxtell_dicom.workers.pool.WorkerPool.unknown", load)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path = node_yaml(tmp_path, node={"storage": "data", "dimse": {"host": "127.0.0.1", "port": port}})
        done = run("serve", "-c", str(path))
    assert done.exit_code == 1
    assert f"cannot listen on 127.0.0.1:{port} (node.dimse)" in done.output
    assert "Stop the program that uses the port" in done.output

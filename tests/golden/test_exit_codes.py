"""Pin the exit codes: 0 done, 1 failed, 2 wrong usage or input; scripts of sites decide by them.

A code that is meant to change needs a line in CHANGELOG.md.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.golden.conftest import Golden
from voxtell_dicom.cli import app
from voxtell_dicom.phantom.acquisition import Acquisition
from voxtell_dicom.phantom.anatomy import torso
from voxtell_dicom.phantom.writer import write_series

RULES = """\
version: 1
node: {{storage: {folder}/node}}
model: {{engine: threshold}}
peers: {{{peers}}}
rules: [{{name: bright, when: {{{when}: CT}}, prompts: ["> 300"]}}]
"""
# In a folder with: ct (a series), gap (a slice is missing), damaged (a series and a file cut short), empty (no file),
# node.yaml, wrong.yaml (a keyword that is none), away.yaml (a peer that does not answer).
COMMANDS = (
    "--help",
    "version",
    "version --no-such-option",
    "no-such-command",
    "inspect ct",
    "inspect ct -c node.yaml",
    "inspect ct -c wrong.yaml",
    "inspect gap",
    "inspect empty",
    "inspect absent",
    "rules explain ct -c node.yaml",
    "rules explain gap -c node.yaml",
    "rules explain ct -c wrong.yaml",
    "rules explain ct -c absent.yaml",
    "rules explain empty -c node.yaml",
    "check -c node.yaml",
    "check -c away.yaml",
    "check -c wrong.yaml",
    "terms liver",
    "terms",
    "phantom made",
    "jobs list -c node.yaml",
    "jobs list -c absent.yaml",
    "jobs show 0123456789abcdef -c node.yaml",
    "jobs show latest -c node.yaml",
    "jobs drop 0123456789abcdef -c node.yaml",
    "jobs retry 0123456789abcdef -c wrong.yaml",
    "look absent",
    "verify empty",
    "segment ct -o out --engine threshold -p >5000",
    "segment damaged -o out --engine threshold -p >300",
    "segment gap -o out --engine threshold -p >300",
    "segment empty -o out --engine threshold -p >300",
    "segment ct -o out --engine threshold --model . -p >300",
    "segment ct -o out --engine threshold",
    "segment ct -o out --engine threshold -p >300 --device gpu",
    "segment ct -o out --engine threshold -p >300 --transfer-syntax rle",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the input of the commands."""
    folder = tmp_path_factory.mktemp("commands")
    scan = Acquisition(shape=(6, 32, 32), slice_spacing_mm=16.0, pixel_spacing_mm=(12.0, 12.0))
    write_series(torso(5), scan, folder / "ct")
    files = write_series(torso(5), scan, folder / "damaged")
    (folder / "damaged" / "cut.dcm").write_bytes(files[0].read_bytes()[:300])
    write_series(torso(5), Acquisition(shape=(6, 32, 32), slice_spacing_mm=16.0, missing=(3,)), folder / "gap")
    (folder / "empty").mkdir()
    away = "pacs: {ae_title: PACS, host: 127.0.0.1, port: 1, timeout_s: 2}"
    for name, keyword, peers in (
        ("node", "Modality", f"out: {{folder: {folder}/delivered}}"),
        ("wrong", "Modalitie", ""),
        ("away", "Modality", away),
    ):
        (folder / f"{name}.yaml").write_text(RULES.format(folder=folder, peers=peers, when=keyword))
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_exit_code(command: str, folder: Path, golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors are told, not raised."""
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(app, command.split())
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    golden(command, done.exit_code)

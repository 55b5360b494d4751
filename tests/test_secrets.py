"""Secrets stay out of every message; one that cannot be sent is refused at the start, by its variable's name."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.deliver.small_seg import write_small_seg
from voxtell_dicom.cli import app
from voxtell_dicom.config import Config, Peer
from voxtell_dicom.config.secrets import check_secrets, read_secret
from voxtell_dicom.deliver import deliver
from voxtell_dicom.errors import ConfigError

TOKEN = "very-secret-token"
PEER = {"dicomweb": "http://127.0.0.1:9", "token_env": "ARCHIVE_TOKEN"}


@pytest.mark.parametrize("value", [f"{TOKEN}\n", f"{TOKEN}\r\nX-Evil: 1", f"\x00{TOKEN}", f"{TOKEN}\x7f", f"{TOKEN}ä"])
def test_token_that_no_header_can_carry(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", {"ARCHIVE_TOKEN": value})
    with pytest.raises(ConfigError) as caught:
        check_secrets(Config.model_validate({"version": 1, "model": {"engine": "threshold"}, "peers": {"a": PEER}}))
    assert "ARCHIVE_TOKEN" in str(caught.value)
    assert "peers.a" in str(caught.value)
    assert TOKEN not in repr(caught.value) + repr(caught.value.__cause__) + repr(caught.value.__context__)


def test_password_may_have_any_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSWORD", "pässword €")
    assert read_secret("PASSWORD") == "pässword €"


def test_delivery_does_not_tell_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands in the job book is the outcome's message."""
    monkeypatch.setenv("ARCHIVE_TOKEN", f"{TOKEN}\n")
    outcome = deliver(write_small_seg(tmp_path), Peer.model_validate(PEER), calling_ae="VOXTELL", name="archive")
    assert outcome.state == "failed"
    assert "ARCHIVE_TOKEN" in outcome.message
    assert TOKEN not in repr(outcome)


@pytest.mark.parametrize("command", ["serve", "check"])
def test_commands_refuse_it(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHIVE_TOKEN", f"{TOKEN}\n")
    path = tmp_path / "node.yaml"
    path.write_text(
        "version: 1\nmodel: {engine: threshold}\n"
        "peers: {a: {dicomweb: 'http://127.0.0.1:9', token_env: ARCHIVE_TOKEN}}\n"
    )
    result = CliRunner().invoke(app, [command, "-c", str(path)])
    said = result.output + repr(result.exception)
    assert result.exit_code != 0
    assert "ARCHIVE_TOKEN" in said
    assert TOKEN not in said

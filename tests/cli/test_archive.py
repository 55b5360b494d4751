"""`archive rebuild`: the index is completed from the store, and not while a node has it open."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.receive.receiving import make_series
from tests.receive.sending import encode
from voxtell_dicom.archive.archive import Archive
from voxtell_dicom.archive.database import open_database
from voxtell_dicom.archive.instance import Sender
from voxtell_dicom.cli import app
from voxtell_dicom.config import Config, load_config
from voxtell_dicom.receive.arrival import read_arrival


def open_archive(config: Config) -> Archive:
    return Archive(config.node.storage / "spool", open_database(config), config.receive)


@pytest.mark.parametrize("lost", ["the database", "nothing"])
def test_rebuild(tmp_path: Path, lost: str) -> None:
    node = tmp_path / "node.yaml"
    text = (
        f"version: 1\nnode: {{storage: {tmp_path}}}\nmodel: {{engine: threshold}}\nreceive: {{min_free_percent: 0}}\n"
    )
    node.write_text(text)
    config = load_config(node)
    archive = open_archive(config)
    for ds in make_series(4, "1.2.3"):
        archive.store(read_arrival(encode(ds), "1.2.840.10008.1.2.1"), Sender("a", "CT1", "VOXTELL"))
    held = CliRunner().invoke(app, ["archive", "rebuild", "--config", str(node)])
    assert (held.exit_code, "in use by another process" in held.output) == (2, True)
    archive.close()
    if lost == "the database":
        for path in tmp_path.glob("node.sqlite*"):
            path.unlink()
    done = CliRunner().invoke(app, ["archive", "rebuild", "--config", str(node)])
    new = 4 if lost == "the database" else 0
    assert (done.exit_code, done.output.splitlines()[-1]) == (
        0,
        f"The index holds 4 instances, {new} of them new to it.",
    )
    archive = open_archive(config)
    assert [one.instances for one in archive.receiving()] == [4]
    archive.close()

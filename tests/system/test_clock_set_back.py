"""The wall clock of the node is set back an hour: what waits for its next attempt goes on as before.

Debian's libfaketime 0.9.10 breaks Python's `time.sleep`, so the node's interpreter gets a `time.time` that adds an
offset from a file: DBOS and the node read the wall clock by nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.made_series import write_ct
from tests.system.node_process import NodeProcess
from tests.system.peers.dcmtk import storescu
from tests.system.peers.ports import free_port
from tests.system.peers.scripted_scp import ScriptedScp

CLOCK = """
import os, time
right = time.time
def shifted():
    with open(os.environ["TEST_CLOCK_OFFSET"]) as file:
        return right() + float(file.read() or 0)
time.time = shifted
"""
RETRY_S = 5  # the shortest delay in which the watch surely looks at the clock


@pytest.fixture
def offset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with the offset of the node's wall clock in seconds."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(CLOCK)
    file = tmp_path / "offset"
    file.write_text("0")
    monkeypatch.setenv("TEST_CLOCK_OFFSET", str(file))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")]))
    return file


@pytest.fixture
def pacs() -> ScriptedScp:
    return ScriptedScp(port=free_port())


@pytest.fixture
def node(pacs: ScriptedScp, offset: Path, tmp_path: Path) -> Iterator[NodeProcess]:
    peers = {"pacs": {"ae_title": pacs.ae_title, "host": "127.0.0.1", "port": pacs.port}}
    with NodeProcess(tmp_path / "node", peers=peers, first_retry_s=RETRY_S) as running:
        yield running


def test_a_delivery_is_tried_again_although_the_clock_was_set_back(
    node: NodeProcess, pacs: ScriptedScp, offset: Path, tmp_path: Path
) -> None:
    storescu(write_ct(tmp_path / "ct", slices=4), node.port)
    delayed = "SELECT 1 FROM workflow_status WHERE name = 'deliver' AND status = 'DELAYED'"
    node.wait(lambda: node.read(delayed), what="a delivery that is put off")
    offset.write_text("-3600")
    with pacs:
        node.wait(lambda: pacs.stored, what="the delivery")
        node.wait_for_jobs("delivered")
    assert "the wall clock was set back" in node.log()
    assert len(pacs.stored) == 1


def test_a_series_that_waits_to_be_complete_goes_on_although_the_clock_was_set_back(
    node: NodeProcess, pacs: ScriptedScp, offset: Path, tmp_path: Path
) -> None:
    with pacs:
        storescu(write_ct(tmp_path / "ct", slices=4), node.port)
        offset.write_text("-3600")
        node.wait_for_jobs("delivered")
    assert len(pacs.stored) == 1

"""A peer that accepts TCP and never answers costs the others nothing, and does not keep the node from stopping."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.made_series import write_ct
from tests.system.node_process import CT_RULE, NodeProcess
from tests.system.peers.dcmtk import storescu
from tests.system.peers.scripted_scp import ScriptedScp
from tests.system.peers.silent import SilentPeer

SERIES = 12  # more than any number of slots that all peers could share
DRAIN_S = 2


@pytest.fixture
def good() -> Iterator[ScriptedScp]:
    with ScriptedScp() as running:
        yield running


@pytest.fixture
def silent() -> Iterator[SilentPeer]:
    with SilentPeer() as running:
        yield running


@pytest.fixture
def node(good: ScriptedScp, silent: SilentPeer, tmp_path: Path) -> Iterator[NodeProcess]:
    peers = {
        "silent": silent.dimse_settings,
        "good": {"ae_title": good.ae_title, "host": "127.0.0.1", "port": good.port},
    }
    rules = [{**CT_RULE, "send_to": list(peers)}]
    with NodeProcess(tmp_path / "node", peers=peers, rules=rules, delivery={"drain_s": DRAIN_S}) as running:
        yield running


def test_a_silent_peer_costs_the_others_nothing(
    node: NodeProcess, good: ScriptedScp, silent: SilentPeer, tmp_path: Path
) -> None:
    """In version 0.1 eight deliveries to it took all slots, and the ninth series waited for its timeout."""
    for number in range(SERIES):
        storescu(write_ct(tmp_path / str(number), slices=4, seed=number), node.port)
    node.wait(lambda: len(good.stored) == SERIES, what="every series at the good peer", timeout_s=120)
    assert not node.read("SELECT 1 FROM voxtell_delivery WHERE peer = 'silent'"), "an attempt there is over already"
    assert 1 <= silent.connections <= SERIES
    assert len({stored.sop_instance_uid for stored in good.stored}) == SERIES

    began = time.monotonic()
    assert node.stop() == 0  # it waits 30 s, far below the peer's timeout
    assert time.monotonic() - began >= DRAIN_S, "the deliveries got their time"
    assert "work did not end in time" in node.log()
    states = {job["state"] for job in node.jobs()}
    assert states == {"delivering"}, "nothing was given up"

"""A short, seeded slice of the random kills (`make chaos` runs sixty rounds), and a node that is killed on and on."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.run import RULE, Chaos
from tests.system.node_process import NodeProcess
from tests.system.peers.orthanc import Orthanc


@pytest.fixture
def chaos(tmp_path: Path) -> Iterator[Chaos]:
    with Orthanc(tmp_path / "orthanc") as pacs:
        peers = {"pacs": pacs.dimse_settings}
        with NodeProcess(tmp_path / "node", peers=peers, rules=[RULE]) as node:
            yield Chaos(tmp_path, node, pacs, random.Random(7))


def test_a_few_rounds(chaos: Chaos) -> None:
    for number in range(3):
        chaos.round(number)
    chaos.check(timeout_s=120)


def test_a_node_that_is_killed_on_and_on_loses_nothing(chaos: Chaos) -> None:
    """In version 0.1 the first series was given up: five restarts of the node counted as attempts of its own."""
    chaos.send(1, slices=60, rows=320, columns=256)
    chaos.send(3)
    for _ in range(6):
        chaos.node.wait(lambda: "segment" in chaos.node.pending(), what="the segmentation", every_s=0.002)
        chaos.kill("node")
    chaos.check(timeout_s=120)

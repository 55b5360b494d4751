"""A node that serves HTTP, and a small client that follows no rule but its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.node_process import NodeProcess

RULE = {"name": "bright", "when": {"Modality": "CT", "SeriesDescription": "for the rule"}, "prompts": ["> 300"]}

HELD = {
    "name": "held",
    "when": {"Modality": "CT", "SeriesDescription": "for holding"},
    "prompts": ["> 300"],
    "on_warning": {"edge": "hold"},
}


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    folder = tmp_path_factory.mktemp("node")
    receive = {"bounds": {"dataset_mb": 4, "pdu_s": 2, "request_s": 2}, "max_associations": 4}
    with NodeProcess(folder, peers={}, rules=[RULE, HELD], receive=receive, http={}) as running:
        yield running

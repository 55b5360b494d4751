"""A short, seeded slice of the hostile input (`make hostile` runs all of it)."""

from __future__ import annotations

from pathlib import Path

from tests.hostile.suite import Hostile, settings
from tests.system.node_process import NodeProcess


def test_hostile_input_beside_two_hundred_silent_callers(tmp_path: Path) -> None:
    with NodeProcess(tmp_path, **settings(tmp_path)) as node:
        hostile = Hostile(tmp_path, node, seed=7)
        with hostile.silent_callers():
            hostile.datasets(120, good_every=60)
            hostile.streams(100, good_every=50)
            answers = hostile.check()
            assert min(answers["accepted"], answers["refused"]) > 10, answers
            assert node.stop() == 0

"""A result on the wrong side is held with its reason, and goes out only when a person lets it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from tests.series import slices
from tests.system.node_process import CT_RULE, NodeProcess
from tests.system.peers.dcmtk import storescu
from tests.system.peers.scripted_scp import ScriptedScp


def test_wrong_side_is_held_and_released(tmp_path: Path) -> None:
    stored = np.zeros((12, 60, 100), np.uint16)
    stored[:, 10:50, 10:90] = 1064  # a body of 40 HU, 320 mm wide
    stored[4:8, 20:30, 15:30] = 2024  # 1000 HU on the patient's right
    datasets: list[Dataset] = slices.stack(stored, spacing=(5.0, 5.0, 4.0), origin=(-198, -150, 0))
    series = slices.save(datasets, tmp_path / "ct")
    prompts = [{"text": "> 500", "label": "Left kidney"}]
    with ScriptedScp([0x0000], ae_title="PACS") as pacs:
        peers = {"pacs": {"ae_title": "PACS", "host": "127.0.0.1", "port": pacs.port, "timeout_s": 5}}
        rule = {**CT_RULE, "prompts": prompts, "send_to": ["pacs"], "receipt": "never"}
        with NodeProcess(tmp_path / "node", peers=peers, rules=[rule]) as node:
            storescu([instance.path for instance in series.instances], node.port)
            (job,) = node.wait_for_jobs("held")
            assert "laterality" in job["reason"]
            assert "right of the midline" in job["reason"]
            assert not pacs.attempts
            node.cli("jobs", "release", job["id"])
            node.wait_for_jobs("delivered")
            assert len(pacs.attempts) == 1

"""A result on the wrong side is held with its reason, and goes out only when a person lets it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import SegmentationStorage

from tests.series import slices
from tests.system.node_process import CT_RULE, NodeProcess
from tests.system.peers.dcmtk import storescu
from tests.system.peers.scripted_scp import ScriptedScp


def write(folder: Path, number: int) -> list[Path]:
    """A body, and something bright on the patient's right."""
    stored = np.zeros((12, 60, 100), np.uint16)
    stored[:, 10:50, 10:90] = 1064  # a body of 40 HU, 320 mm wide
    stored[4:8, 20:30, 15:30] = 2024  # 1000 HU

    def edit(ds: Dataset, index: int) -> None:
        ds.SeriesInstanceUID, ds.SOPInstanceUID = f"{slices.UID}.2.{number}", f"{slices.UID}.4.{number}.{index + 1}"

    datasets = slices.stack(stored, spacing=(5.0, 5.0, 4.0), origin=(-198, -150, 0), edit=edit)
    return [instance.path for instance in slices.save(datasets, folder).instances]


def test_wrong_side_is_held_until_a_person_decides(tmp_path: Path) -> None:
    prompts = [{"text": "> 500", "label": "Left kidney"}]
    with ScriptedScp([0x0000], ae_title="PACS") as pacs:
        peers = {"pacs": {"ae_title": "PACS", "host": "127.0.0.1", "port": pacs.port, "timeout_s": 60}}
        rule = {**CT_RULE, "prompts": prompts, "send_to": ["pacs"]}
        with NodeProcess(tmp_path / "node", peers=peers, rules=[rule]) as node:
            storescu(write(tmp_path / "one", 1), node.port)
            storescu(write(tmp_path / "two", 2), node.port)
            jobs = node.wait_for_jobs("held", "held")
            assert all("laterality" in job["reason"] and "right of the midline" in job["reason"] for job in jobs)
            one, two = jobs
            assert "is held" in refused(node, "retry", one["id"])
            assert not segmentations(pacs)  # only the receipts that say so
            node.cli("jobs", "release", one["id"])
            node.cli("jobs", "drop", two["id"])
            node.wait_for_jobs("delivered", "dropped")
            assert "is not held" in refused(node, "release", one["id"])
            assert "nothing to drop" in refused(node, "drop", one["id"])
            assert "was dropped" in refused(node, "retry", two["id"])
            assert "is not held" in refused(node, "release", two["id"])
            node.cli("jobs", "rerun", two["id"])
            node.wait_for_jobs("delivered", "dropped", "held")
            assert len(segmentations(pacs)) == 1


def refused(node: NodeProcess, word: str, job: str) -> str:
    done = node.cli("jobs", word, job, check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr


def segmentations(pacs: ScriptedScp) -> list[str]:
    return [stored.sop_instance_uid for stored in pacs.attempts if stored.sop_class_uid == SegmentationStorage]

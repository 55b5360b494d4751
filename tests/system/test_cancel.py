"""A long segmentation, seen and stopped from another process, while the node goes on."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.system.made_series import write_ct
from tests.system.node_process import CT_RULE, NodeProcess
from tests.system.peers.dcmtk import storescu
from voxtell_dicom.phantom import demo_acquisition, torso, write_series

WINDOWS = re.compile(r"(\d+)/(\d+) windows(, about \d+ (s|min|h) left)?")


def test_a_dropped_job_stops_before_its_next_window_and_the_next_series_has_its_turn(tmp_path: Path) -> None:
    rule = {**CT_RULE, "prompts": ["liver", "spleen"], "send_to": []}
    with NodeProcess(tmp_path / "node", peers={}, rules=[rule], engine="phantom") as node:
        storescu(write_ct(tmp_path / "long", slices=160, rows=256, columns=256), node.port)

        def progress() -> str:
            jobs = json.loads(node.cli("jobs", "list", "--state", "segmenting", "--json").stdout)
            shown = json.loads(node.cli("jobs", "show", jobs[0]["id"], "--json").stdout) if jobs else {"timeline": []}
            details = [row["detail"] for row in shown["timeline"] if row["stage"] == "segment"]
            return next((detail for detail in details if "left" in detail), "")

        said = WINDOWS.fullmatch(node.wait(progress, what="progress"))
        assert said is not None
        assert int(said[1]) < int(said[2])
        (job,) = node.jobs()
        node.cli("jobs", "drop", job["id"])

        storescu(write_series(torso(5), demo_acquisition(5), tmp_path / "next"), node.port)
        after = {each["id"]: each["state"] for each in node.wait_for_jobs("dropped", "kept")}
        assert after[job["id"]] == "dropped"
        last = json.loads(node.cli("jobs", "show", job["id"], "--json").stdout)["timeline"]
        (detail,) = [row["detail"] for row in last if row["stage"] == "segment"]
        stopped = WINDOWS.fullmatch(detail)
        assert stopped is not None, detail
        assert int(stopped[1]) < int(stopped[2])
        assert "segmentation stopped" in node.log()

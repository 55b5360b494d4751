"""The examples of config/examples work against the programs that they are for, as they stand."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from tests.system.made_series import write_ct
from tests.system.node_process import NodeProcess
from tests.system.peers.orthanc import Orthanc
from tests.system.peers.ports import free_port
from tests.system.seg_check import assert_is_threshold

EXAMPLE = Path(__file__).parents[2] / "config/examples/orthanc-autorouting.yaml"


def lua_of_the_example() -> str:
    """Return the script in the head of the example."""
    script = re.search(r"^#     function.*?^#     end$", EXAMPLE.read_text(), re.MULTILINE | re.DOTALL)
    assert script, "no Lua function in the example"
    return textwrap.dedent(re.sub(r"^#", "", script.group(), flags=re.MULTILINE))


def stable_series(orthanc: Orthanc) -> int:
    """Return how many series Orthanc has called OnStableSeries for."""
    return sum(1 for series in orthanc.get("/series?expand") if series["IsStable"])


def test_the_lua_of_the_example_routes_series_to_the_node_and_results_start_no_second_job(tmp_path: Path) -> None:
    script = tmp_path / "autorouting.lua"
    script.write_text(lua_of_the_example())
    files, port = write_ct(tmp_path / "ct"), free_port()
    settings = {"LuaScripts": [str(script)], "StableAge": 1}
    with Orthanc(tmp_path / "orthanc", modalities={"voxtell": ("VOXTELL", port)}, settings=settings) as orthanc:
        peers = {"pacs": orthanc.dimse_settings}
        with NodeProcess(tmp_path / "node", peers=peers, port=port) as node:
            for path in files:
                orthanc.upload(path)
            (instance,) = orthanc.wait_for(1, modality="SEG")
            assert_is_threshold(orthanc.download(instance), files, lambda hu: hu > 300)
            node.wait_for_jobs("delivered")
            node.wait(lambda: stable_series(orthanc) == 2, what="the result to be stable in Orthanc, too")
            assert len(node.jobs()) == 1

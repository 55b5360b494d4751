"""Examples of config/examples against the programs that they are for, as they stand; and odd names of folders."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pydicom
import pytest
import yaml
from pydicom.uid import MRImageStorage

from tests.chaos.postgresql import PostgreSql
from tests.system.made_series import write_ct
from tests.system.node_process import NodeProcess
from tests.system.peers.dcmtk import storescu
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


def test_a_storage_folder_with_signs_of_a_url_holds_all_of_the_node(tmp_path: Path) -> None:
    storage = tmp_path / "da%20ta?x=1#y"
    with (
        Orthanc(tmp_path / "orthanc") as orthanc,
        NodeProcess(tmp_path / "node", peers={"pacs": orthanc.dimse_settings}, storage=storage) as node,
    ):
        storescu(write_ct(tmp_path / "ct"), node.port)
        orthanc.wait_for(1)
        jobs = node.jobs_cli()
    assert [job["state"] for job in jobs] in (["delivering"], ["delivered"])
    assert {"node.sqlite", "spool"} <= {path.name for path in storage.iterdir()}
    assert {path.name for path in tmp_path.iterdir()} == {"ct", "node", "orthanc", storage.name}


def test_the_dicomweb_example_delivers_to_an_archive_with_postgresql(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it stands but for what differs between sites: addresses, storage, database; and the engine of the tests."""
    example = yaml.safe_load((EXAMPLE.parent / "dicomweb-archive.yaml").read_text())
    monkeypatch.setenv(example["peers"]["archive"]["token_env"], "token")
    files = [as_contrast_mr(path) for path in write_ct(tmp_path / "mr")]
    rules = [{**rule, "prompts": ["> 300"]} for rule in example["rules"]]
    with PostgreSql() as database, Orthanc(tmp_path / "orthanc") as orthanc:
        archive = {**example["peers"]["archive"], "dicomweb": orthanc.dicomweb}
        with NodeProcess(
            tmp_path / "node",
            peers={**example["peers"], "archive": archive},
            rules=rules,
            receive={**example["receive"], "quiet_s": 1},
            delivery=example["delivery"],
            database=database.url,
        ) as node:
            storescu(files, node.port, calling=example["peers"]["mr1"]["ae_title"])
            orthanc.wait_for(1, modality="SEG")
            node.wait(lambda: [job["state"] for job in node.jobs_cli()] == ["delivered"], what="the delivery")


def as_contrast_mr(path: Path) -> Path:
    """Make an instance one of a T1-weighted MR with contrast agent. Returns its path."""
    ds = pydicom.dcmread(path)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = MRImageStorage
    ds.Modality, ds.SeriesDescription, ds.EchoTime, ds.ContrastBolusAgent = "MR", "T1 MPRAGE", 3, "agent"
    ds.save_as(path)
    return path

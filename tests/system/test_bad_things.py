"""What goes wrong in a hospital has a documented outcome, and the next series works."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, _config

from tests.system.made_series import write_ct
from tests.system.node_process import CT_RULE, SENDER, NodeProcess
from tests.system.peers.dcmtk import storescu
from tests.system.peers.orthanc import Orthanc
from tests.system.peers.ports import free_port
from tests.system.peers.scripted_scp import ScriptedScp
from tests.system.seg_check import assert_is_threshold


@pytest.fixture(scope="module")
def node(orthanc: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    receive = {"quiet_s": 1, "incomplete_s": 2}
    peers = {"pacs": orthanc.dimse_settings}
    with NodeProcess(tmp_path_factory.mktemp("node"), peers=peers, receive=receive) as running:
        yield running


def next_series_works(node: NodeProcess, orthanc: Orthanc, folder: Path) -> None:
    files = write_ct(folder, seed=7)
    storescu(files, node.port)
    (instance,) = orthanc.wait_for(1, study_uid=str(pydicom.dcmread(files[0]).StudyInstanceUID))
    assert_is_threshold(orthanc.download(instance), files, lambda hu: hu > 300)


def job_of(node: NodeProcess, files: list[Path]) -> dict[str, str]:
    series = str(pydicom.dcmread(files[0]).SeriesInstanceUID)
    found = node.wait(
        lambda: [j for j in node.jobs() if j["series_uid"] == series and j["state"] != "queued"], what="its job"
    )
    assert len(found) == 1, found
    return dict(found[0])


def test_a_missing_slice(node: NodeProcess, orthanc: Orthanc, tmp_path: Path) -> None:
    files = write_ct(tmp_path / "ct")
    storescu(files[:4] + files[5:], node.port)
    job = job_of(node, files)
    assert job["state"] == "refused"
    assert "missing" in job["reason"]
    next_series_works(node, orthanc, tmp_path / "next")


def test_pixels_that_cannot_be_decoded(node: NodeProcess, orthanc: Orthanc, tmp_path: Path) -> None:
    files = write_ct(tmp_path / "ct")
    ds = pydicom.dcmread(files[3])
    ds.PixelData = ds.PixelData[: len(ds.PixelData) // 2]
    ds.save_as(files[3])
    storescu(files, node.port)
    job = job_of(node, files)
    assert job["state"] in {"refused", "failed"}
    assert str(ds.SOPInstanceUID) in job["reason"]
    next_series_works(node, orthanc, tmp_path / "next")


def test_a_file_that_is_no_dicom_data_set(
    node: NodeProcess, orthanc: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sender is told, nothing is kept, and the rest of the association goes through."""
    files = write_ct(tmp_path / "ct")
    data = files[0].read_bytes()
    end_of_meta = 144 + int.from_bytes(data[140:144], "little")  # (0002,0000), the first element after "DICM"
    files[0].write_bytes(data[:end_of_meta] + b"\x08\x00\x16\x00UI\xff\xff" + b"garbage" * 9)
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)  # send the file as it is
    entity = AE(ae_title=SENDER)
    entity.add_requested_context(pydicom.dcmread(files[1]).SOPClassUID, ExplicitVRLittleEndian)
    link = entity.associate("127.0.0.1", node.port, ae_title="VOXTELL")
    assert link.is_established
    status = link.send_c_store(files[0]).Status
    assert 0xC000 <= status <= 0xCFFF or 0xA900 <= status <= 0xA9FF
    assert link.send_c_store(files[1]).Status == 0
    link.release()
    next_series_works(node, orthanc, tmp_path / "next")


def test_an_unknown_prompt_stops_the_start(tmp_path: Path) -> None:
    rule = {**CT_RULE, "prompts": ["> 300", "the left kidney"], "send_to": []}
    node = NodeProcess(tmp_path / "node", peers={}, rules=[rule])
    done = node.cli("serve", check=False)
    assert done.returncode == 2
    assert "the left kidney" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unreachable_pacs_gets_it_when_it_is_back(tmp_path: Path) -> None:
    files = write_ct(tmp_path / "ct")
    away = free_port()
    peer = {"ae_title": "SCRIPTED", "host": "127.0.0.1", "port": away, "timeout_s": 60}
    with NodeProcess(tmp_path / "node", peers={"pacs": peer}) as node:
        storescu(files, node.port)
        tried = "SELECT state, status FROM voxtell_delivery ORDER BY attempt"
        node.wait(lambda: len(node.read(tried)) >= 2, what="two attempts")
        assert {(row["state"], row["status"]) for row in node.read(tried)} == {("retry", "no connection")}
        with ScriptedScp([0xA700], port=away) as scp:
            node.wait_for_jobs("delivered")
            assert len(scp.stored) == 1
        states = [(row["state"], row["status"]) for row in node.read(tried)]
        assert states[-2:] == [("retry", "A700"), ("delivered", "0000")]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB: a tmpfs in a mount of its own. Needs root, as CI has."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk(orthanc: Orthanc, small_disk: Path, tmp_path: Path) -> None:
    files = write_ct(tmp_path / "ct")
    study = str(pydicom.dcmread(files[0]).StudyInstanceUID)
    peers, receive = {"pacs": orthanc.dimse_settings}, {"min_free_percent": 10}
    with NodeProcess(tmp_path / "node", peers=peers, storage=small_disk / "data", receive=receive) as node:
        filler = small_disk / "filler"
        filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - (1 << 20)))
        before = sorted(path for path in small_disk.rglob("*.dcm"))
        refused = storescu(files, node.port, check=False)
        assert refused.returncode != 0
        assert "OutOfResources" in refused.stderr + refused.stdout
        assert sorted(path for path in small_disk.rglob("*.dcm")) == before
        filler.unlink()
        storescu(files, node.port)
        (instance,) = orthanc.wait_for(1, study_uid=study)
        assert_is_threshold(orthanc.download(instance), files, lambda hu: hu > 300)


def test_a_disk_that_fills_while_the_result_is_written(orthanc: Orthanc, small_disk: Path, tmp_path: Path) -> None:
    """Nobody has to do anything but make room: the job goes on, though even its failure could not be written down."""
    files = write_ct(tmp_path / "ct", slices=20, rows=200, columns=200)
    study = str(pydicom.dcmread(files[0]).StudyInstanceUID)
    with NodeProcess(tmp_path / "node", peers={"pacs": orthanc.dimse_settings}, storage=small_disk / "data") as node:
        worker = node.children()[0]
        os.kill(worker, signal.SIGSTOP)  # so that the segmentation is still running when the disk is full
        storescu(files, node.port)
        node.wait(lambda: "segment" in node.pending(), what="the segmentation")
        with suppress(OSError), (small_disk / "filler").open("wb") as filler:
            while True:
                filler.write(bytes(1 << 16))
        os.kill(worker, signal.SIGCONT)
        node.wait(lambda: "the database does not answer" in node.log(), what="the trouble")
        assert not node.wait_until_idle(2), "the job ended on a full disk: the test would prove nothing"
        assert orthanc.instances(study, "SEG") == []
        (small_disk / "filler").unlink()
        (instance,) = orthanc.wait_for(1, study_uid=study)
        node.wait_for_jobs("delivered")
        assert_is_threshold(orthanc.download(instance), files, lambda hu: hu > 300)

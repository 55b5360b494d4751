"""kill -9 of the worker, of the node, in every stage: in the end one SEG in Orthanc, none lost, none doubled."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import generate_uid

from tests.processes import is_running
from tests.system.made_series import write_ct
from tests.system.node_process import CT_RULE, NodeProcess
from tests.system.peers.dcmtk import ENVIRONMENT, storescu
from tests.system.peers.orthanc import Orthanc
from tests.system.seg_check import assert_is_threshold

# Some forty prompts that find nothing keep the worker busy for a second or two: long enough to be killed.
SLOW_RULE = {**CT_RULE, "prompts": ["> 300", *(f"> {5000 + n}" for n in range(40))]}
STAGES = ("process", "segment", "publish")  # delivery is below: there Orthanc is made to wait for the kill


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Large enough that each stage takes a while."""
    return write_ct(tmp_path_factory.mktemp("ct"), slices=60, rows=320, columns=256)


@pytest.fixture
def node(orthanc: Orthanc, tmp_path: Path) -> Iterator[NodeProcess]:
    peers = {"pacs": orthanc.dimse_settings}
    with NodeProcess(tmp_path / "node", peers=peers, rules=[SLOW_RULE]) as running:
        yield running


@pytest.fixture
def fresh(files: list[Path], tmp_path: Path) -> list[Path]:
    """The series under UIDs of its own, so that each test has a study of its own in Orthanc."""
    study, series = generate_uid(), generate_uid()
    paths = []
    for path in files:
        ds = pydicom.dcmread(path)
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = study, series, generate_uid()
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.save_as(tmp_path / path.name)
        paths.append(tmp_path / path.name)
    return paths


def one_seg(orthanc: Orthanc, files: list[Path], node: NodeProcess) -> None:
    study = str(pydicom.dcmread(files[0]).StudyInstanceUID)
    (instance,) = orthanc.wait_for(1, study_uid=study, settle_s=1.5)
    assert_is_threshold(orthanc.download(instance), files, lambda hu: hu > 300)
    node.wait_for_jobs("delivered")


@pytest.mark.parametrize("stage", STAGES)
def test_the_node_is_killed(node: NodeProcess, orthanc: Orthanc, fresh: list[Path], stage: str) -> None:
    storescu(fresh, node.port)
    node.wait(lambda: stage in node.pending(), what=f"the stage {stage}", every_s=0.002)
    workers = node.children()
    node.kill()
    assert stage in node.pending(), "it was through before the node was killed"
    time.sleep(0.5)
    assert not [pid for pid in workers if is_running(pid)], "a worker outlived its node"
    node.start()
    one_seg(orthanc, fresh, node)


def test_the_worker_is_killed_twice(node: NodeProcess, orthanc: Orthanc, fresh: list[Path]) -> None:
    storescu(fresh, node.port)
    node.wait(lambda: "segment" in node.pending(), what="the segmentation", every_s=0.002)
    first = node.kill_worker()
    node.wait(lambda: [pid for pid in node.children() if pid != first], what="another worker")
    node.kill_worker()
    one_seg(orthanc, fresh, node)
    assert "worker" in node.log()


def test_the_node_is_killed_while_it_waits_for_more(node: NodeProcess, orthanc: Orthanc, fresh: list[Path]) -> None:
    storescu(fresh, node.port)
    node.kill()
    node.start()
    one_seg(orthanc, fresh, node)


def test_the_node_is_killed_in_the_middle_of_reception(node: NodeProcess, orthanc: Orthanc, fresh: list[Path]) -> None:
    command = ["storescu", "-aet", "STORESCU", "-aec", "VOXTELL", "127.0.0.1", str(node.port), *map(str, fresh)]
    sender = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT)
    arrived = lambda: sum(1 for _ in node.storage.rglob("*.dcm"))  # noqa: E731
    node.wait(lambda: arrived() >= 10, what="ten instances", every_s=0.002)
    node.kill()
    assert sender.wait(30) != 0, "the sender was through before the node was killed"
    node.start()
    study = str(pydicom.dcmread(fresh[0]).StudyInstanceUID)
    time.sleep(2)
    assert orthanc.instances(study, "SEG") == []
    storescu(fresh, node.port)
    one_seg(orthanc, fresh, node)


def test_the_answer_of_the_pacs_is_lost_with_the_node(node: NodeProcess, orthanc: Orthanc, fresh: list[Path]) -> None:
    """Stopped while it stores, Orthanc has the object but the node never hears of it: it is sent again, and is one."""
    pid = orthanc.pid
    storescu(fresh, node.port)
    node.wait(lambda: {"publish", "deliver"} & node.pending(), what="the encoding", every_s=0.002)
    os.kill(pid, signal.SIGSTOP)
    try:
        node.wait(lambda: "deliver" in node.pending(), what="the delivery")
        time.sleep(0.5)
        node.kill()
        assert "deliver" in node.pending()
    finally:
        os.kill(pid, signal.SIGCONT)
    node.start()
    one_seg(orthanc, fresh, node)


def test_stopping_kindly_loses_nothing(node: NodeProcess, orthanc: Orthanc, fresh: list[Path]) -> None:
    storescu(fresh, node.port)
    node.wait(lambda: "segment" in node.pending(), what="the segmentation", every_s=0.002)
    assert node.stop() == 0
    node.start()
    one_seg(orthanc, fresh, node)
    assert not own_failures(node), "a stop is no fault of the series"


def test_the_deaths_of_its_worker_count_over_restarts_of_the_node(
    node: NodeProcess, orthanc: Orthanc, fresh: list[Path]
) -> None:
    """A series whose pass kills the worker each time must not do so for ever, however often the node starts anew."""
    storescu(fresh, node.port)
    passes: set[float] = set()  # by their start
    for death in range(1, 4):
        node.wait(lambda seen=frozenset(passes): passes_under_way(node) - seen, what="a pass", every_s=0.002)
        passes |= passes_under_way(node)
        worker = node.children()[0]
        os.kill(worker, signal.SIGKILL)
        node.wait(lambda death=death: own_failures(node) == [death], what="the death to be counted", every_s=0.002)
        if death == 1:
            node.kill()
            node.start()
        elif death == 2:
            node.wait(lambda worker=worker: set(node.children()) - {worker}, what="another worker", every_s=0.002)
    (job,) = node.wait_for_jobs("failed")
    assert "worker" in job["reason"]
    assert orthanc.instances(str(pydicom.dcmread(fresh[0]).StudyInstanceUID), "SEG") == []


def passes_under_way(node: NodeProcess) -> set[float]:
    """When each pass of the engine began whose worker has reported a first step."""
    rows = node.read("SELECT started FROM voxtell_stage WHERE stage = 'segment' AND seconds IS NULL")
    return {row["started"] for row in rows}


def own_failures(node: NodeProcess) -> list[int]:
    """Return the number of failures of each workflow by its own fault."""
    return [row["failures"] for row in node.read("SELECT failures FROM voxtell_failure WHERE failures > 0")]

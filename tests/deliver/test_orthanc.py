"""Delivery to a real PACS, over both ways."""

from __future__ import annotations

from collections.abc import Iterator

import pydicom
import pytest

from tests.deliver.small_seg import write_small_seg
from tests.deliver.test_dimse import dataset_bytes
from tests.system.peers.orthanc import Orthanc
from voxtell_dicom.config import Peer
from voxtell_dicom.deliver import deliver
from voxtell_dicom.model import Outcome, Result


@pytest.fixture(params=[False, True], ids=["keeps the first", "overwrites"], scope="module")
def orthanc(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with Orthanc(tmp_path_factory.mktemp("orthanc"), overwrite=request.param) as running:
        yield running


def send(result: Result, peer: Peer) -> Outcome:
    return deliver(result, peer, calling_ae="VOXTELL", name="pacs")


@pytest.mark.parametrize("way", ["C-STORE", "STOW-RS"])
def test_a_seg_arrives_unchanged_and_once(orthanc: Orthanc, fresh: Result, way: str, tmp_path: object) -> None:
    peer = orthanc.peer() if way == "C-STORE" else orthanc.web_peer()
    outcomes = [send(fresh, peer) for _ in range(3)]
    assert [o.state for o in outcomes] == ["delivered"] * 3, outcomes
    (instance,) = orthanc.instances(fresh.study_uid, "SEG")
    copy = fresh.path.with_name("downloaded.dcm")
    copy.write_bytes(orthanc.download(instance))
    assert dataset_bytes(copy) == dataset_bytes(fresh.path)
    assert pydicom.dcmread(copy).SOPInstanceUID == fresh.sop_instance_uid
    (series,) = orthanc.series(fresh.study_uid)
    assert series["MainDicomTags"]["SeriesInstanceUID"] == fresh.series_uid


def test_the_other_way_finds_it_there(orthanc: Orthanc, fresh: Result) -> None:
    assert send(fresh, orthanc.peer()).state == "delivered"
    assert send(fresh, orthanc.web_peer()).state == "delivered"
    assert len(orthanc.instances(fresh.study_uid)) == 1


def test_a_stopped_pacs_gets_it_when_it_is_back(tmp_path: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    result = write_small_seg(tmp_path_factory.mktemp("spool"))
    with Orthanc(tmp_path_factory.mktemp("orthanc")) as orthanc:
        orthanc.stop()
        peers = [orthanc.peer(), orthanc.web_peer(timeout_s=2)]
        assert [send(result, peer).status for peer in peers] == ["no connection"] * 2
        orthanc.start()
        assert [send(result, peer).state for peer in peers] == ["delivered"] * 2
        assert len(orthanc.instances(result.study_uid)) == 1

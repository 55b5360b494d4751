"""One study, one result: however often it is sent, however it is encoded, whatever the PACS sends back."""

from __future__ import annotations

import time
from io import BytesIO
from pathlib import Path

import pydicom
import pytest

from tests.system.made_series import to_jpeg2000, write_ct
from tests.system.node_process import SENDER, NodeProcess
from tests.system.peers.dcmtk import storescu
from tests.system.peers.orthanc import Orthanc
from tests.system.peers.ports import free_port
from tests.system.seg_check import assert_is_threshold

SETTLE_S = 3  # longer than the quiet time and a job together: whatever was going to happen has happened


@pytest.mark.parametrize("overwrite", [False, True], ids=["keeps the first", "overwrites"])
def test_the_same_study_three_times_and_a_late_slice(tmp_path: Path, overwrite: bool) -> None:
    files = write_ct(tmp_path / "ct")
    early, late = files[:-1], files[-1:]
    compressed = to_jpeg2000(early, tmp_path / "j2k")
    study = str(pydicom.dcmread(files[0]).StudyInstanceUID)
    with (
        Orthanc(tmp_path / "orthanc", overwrite=overwrite) as orthanc,
        NodeProcess(tmp_path / "node", peers={"pacs": orthanc.dimse_settings}) as node,
    ):
        storescu(early, node.port)
        (first,) = orthanc.wait_for(1, study_uid=study)
        assert_is_threshold(orthanc.download(first), early, lambda hu: hu > 300)
        storescu(compressed, node.port, syntax="-xv")
        storescu(early, node.port)
        time.sleep(SETTLE_S)
        assert orthanc.instances(study, "SEG") == [first]
        node.wait_for_jobs("delivered")

        storescu(late, node.port)
        both = orthanc.wait_for(2, study_uid=study, settle_s=SETTLE_S)
        node.wait_for_jobs("delivered", "delivered")
        (second,) = set(both) - {first}
        data = orthanc.download(second)
        assert_is_threshold(data, files, lambda hu: hu > 300)
        assert "v2" in pydicom.dcmread(BytesIO(data)).SeriesDescription
        old = pydicom.dcmread(BytesIO(orthanc.download(first)), stop_before_pixels=True)
        newest = node.jobs_cli()[0]
        assert newest["supersedes"] == [str(old.SOPInstanceUID)]


@pytest.mark.parametrize("overwrite", [False, True], ids=["keeps the first", "overwrites"])
def test_a_pacs_that_forwards_everything_it_stores(tmp_path: Path, overwrite: bool) -> None:
    files = write_ct(tmp_path / "ct")
    port = free_port()
    with (
        Orthanc(
            tmp_path / "orthanc", overwrite=overwrite, modalities={"node": ("VOXTELL", port)}, forward_to="node"
        ) as orthanc,
        NodeProcess(
            tmp_path / "node", port=port, peers={"pacs": orthanc.dimse_settings}, receive={"quiet_s": 2}
        ) as node,
    ):
        storescu(files, orthanc.dicom_port, called=orthanc.ae_title)
        (instance,) = orthanc.wait_for(1, settle_s=SETTLE_S + 2)
        node.wait_for_jobs("delivered")
        assert_is_threshold(orthanc.download(instance), files, lambda hu: hu > 300)
        uid = str(pydicom.dcmread(BytesIO(orthanc.download(instance)), stop_before_pixels=True).SOPInstanceUID)
        came_back = [path for path in node.storage.rglob("*") if path.is_file() and _is_instance(path, uid)]
        assert came_back, "Orthanc did not send our result back: the test would prove nothing"


def _is_instance(path: Path, uid: str) -> bool:
    """Return whether the file is a Part 10 file with this SOP Instance UID that came over the network from Orthanc."""
    with path.open("rb") as file:
        head = file.read(2048)
    return head[128:132] == b"DICM" and uid.encode() in head and b"ORTHANC" in head


def test_a_sender_that_aborts_half_way(orthanc: Orthanc, tmp_path: Path) -> None:
    """Images in Acquisition says that slices are missing; from the geometry of the first five it cannot be known."""
    files = write_ct(tmp_path / "ct")
    for path in files:
        ds = pydicom.dcmread(path)
        ds.ImagesInAcquisition = len(files)
        ds.save_as(path)
    study = str(pydicom.dcmread(files[0]).StudyInstanceUID)
    receive = {"quiet_s": 1, "incomplete_s": 3}
    with NodeProcess(tmp_path / "node", peers={"pacs": orthanc.dimse_settings}, receive=receive) as node:
        storescu(files[:5], node.port, abort=True, check=False)
        (held,) = node.wait_for_jobs("held")
        assert "incomplete" in held["reason"]
        assert orthanc.instances(study, "SEG") == []

        storescu(files, node.port)
        (instance,) = orthanc.wait_for(1, study_uid=study, settle_s=2)
        assert_is_threshold(orthanc.download(instance), files, lambda hu: hu > 300)


def test_nothing_is_done_while_the_aborted_series_may_still_be_sent_again(orthanc: Orthanc, tmp_path: Path) -> None:
    files = write_ct(tmp_path / "ct")
    study = str(pydicom.dcmread(files[0]).StudyInstanceUID)
    with NodeProcess(tmp_path / "node", peers={"pacs": orthanc.dimse_settings}) as node:
        storescu(files[:5], node.port, abort=True, check=False)
        time.sleep(SETTLE_S)
        assert node.jobs() == []
        storescu(files[5:], node.port, calling=SENDER)
        (instance,) = orthanc.wait_for(1, study_uid=study)
        assert_is_threshold(orthanc.download(instance), files, lambda hu: hu > 300)
        node.wait_for_jobs("delivered")

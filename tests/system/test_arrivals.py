"""However a series comes in, it is one series; and what a person asks for by hand is done."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pydicom
import pytest

from tests.system.made_series import write_ct
from tests.system.node_process import CT_RULE, SENDER, NodeProcess
from tests.system.peers.dcmtk import ENVIRONMENT, storescu
from tests.system.peers.orthanc import Orthanc
from tests.system.peers.ports import free_port
from tests.system.peers.scripted_scp import ScriptedScp
from tests.system.seg_check import assert_is_threshold

BRIGHTER = {**CT_RULE, "name": "brighter", "prompts": ["> 600"], "when": {"Modality": "CT", "PatientID": "TWICE"}}


@pytest.fixture(scope="module")
def node(orthanc: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    peers = {"pacs": orthanc.dimse_settings}
    with NodeProcess(tmp_path_factory.mktemp("node"), peers=peers, rules=[CT_RULE, BRIGHTER]) as running:
        yield running


def study_of(files: list[Path]) -> str:
    return str(pydicom.dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)


def test_one_association_for_each_image(node: NodeProcess, orthanc: Orthanc, tmp_path: Path) -> None:
    files = write_ct(tmp_path / "ct")
    for path in reversed(files):
        storescu([path], node.port)
    (instance,) = orthanc.wait_for(1, study_uid=study_of(files), settle_s=2)
    assert_is_threshold(orthanc.download(instance), files, lambda hu: hu > 300)


def test_two_series_of_a_study_at_once_each_over_two_associations(
    node: NodeProcess, orthanc: Orthanc, tmp_path: Path
) -> None:
    first = write_ct(tmp_path / "a", slices=30, rows=200, columns=200, seed=1)
    second = write_ct(tmp_path / "b", slices=30, rows=200, columns=200, seed=2, study_uid=study_of(first))
    commands = [
        ["storescu", "-aet", SENDER, "-aec", node.ae_title, "127.0.0.1", str(node.port), *map(str, part)]
        for part in (first[::2], second[1::2], first[1::2], second[::2])
    ]
    senders = [subprocess.Popen(command, env=ENVIRONMENT) for command in commands]
    assert [sender.wait(60) for sender in senders] == [0] * 4
    instances = orthanc.wait_for(2, study_uid=study_of(first), settle_s=2)
    by_source = {}
    for data in map(orthanc.download, instances):
        seg = pydicom.dcmread(BytesIO(data), stop_before_pixels=True)
        by_source[str(seg.ReferencedSeriesSequence[0].SeriesInstanceUID)] = data
    for files in (first, second):
        series = str(pydicom.dcmread(files[0], stop_before_pixels=True).SeriesInstanceUID)
        assert_is_threshold(by_source[series], files, lambda hu: hu > 300)


def changed(files: list[Path], folder: Path, **attributes: str) -> list[Path]:
    """The same instances with other headers, or other pixels for `pixels="…"`."""
    folder.mkdir()
    for path in files:
        ds = pydicom.dcmread(path)
        if attributes.get("pixels"):
            ds.PixelData = ds.PixelData[::-1]
        else:
            for keyword, value in attributes.items():
                setattr(ds, keyword, value)
        ds.save_as(folder / path.name)
    return [folder / path.name for path in files]


def test_a_correction_by_the_pacs_is_in_the_result(node: NodeProcess, orthanc: Orthanc, tmp_path: Path) -> None:
    """The same pixels come again with a corrected accession number, before the result is made."""
    files = write_ct(tmp_path / "ct")
    corrected = changed(files, tmp_path / "corrected", AccessionNumber="ACC-2", PatientName="Right^Name")
    storescu(files, node.port)
    storescu(corrected, node.port)
    (instance,) = orthanc.wait_for(1, study_uid=study_of(files), settle_s=2)
    seg = assert_is_threshold(orthanc.download(instance), files, lambda hu: hu > 300)
    assert (seg.AccessionNumber, str(seg.PatientName)) == ("ACC-2", "Right^Name")


@pytest.mark.parametrize(
    "change", [{"PatientID": "SOMEBODY ELSE"}, {"StudyInstanceUID": "1.2.3.4"}, {"pixels": "others"}], ids="".join
)
def test_known_uids_with_another_content_are_refused_by_name(
    node: NodeProcess, orthanc: Orthanc, tmp_path: Path, change: dict[str, str]
) -> None:
    files = write_ct(tmp_path / "ct", slices=6)
    other = changed(files, tmp_path / "other", **change)
    storescu(files, node.port)
    orthanc.wait_for(1, study_uid=study_of(files))
    before = len(node.log())
    refused = storescu(other, node.port, check=False)
    assert refused.returncode != 0
    assert str(pydicom.dcmread(files[0]).SOPInstanceUID) in node.log()[before:]
    assert "SOMEBODY" not in node.log()
    (instance,) = orthanc.wait_for(1, study_uid=study_of(files), settle_s=2)
    assert_is_threshold(orthanc.download(instance), files, lambda hu: hu > 300)
    assert orthanc.instances("1.2.3.4", "SEG") == []


def test_two_rules_make_two_results_of_one_pass(node: NodeProcess, orthanc: Orthanc, tmp_path: Path) -> None:
    files = write_ct(tmp_path / "ct", patient_id="TWICE")
    storescu(files, node.port)
    instances = orthanc.wait_for(2, study_uid=study_of(files), settle_s=1)
    segs = [(pydicom.dcmread(BytesIO(data)), data) for data in map(orthanc.download, instances)]
    segs.sort(key=lambda pair: int(pair[0].SeriesNumber))
    assert [int(seg.SeriesNumber) for seg, _ in segs] == [3000, 3010]  # source number × 1000 + rule index × 10 + kind
    assert len({seg.SeriesInstanceUID for seg, _ in segs}) == 2
    assert_is_threshold(segs[0][1], files, lambda hu: hu > 300)
    assert_is_threshold(segs[1][1], files, lambda hu: hu > 600)


def test_rerun_makes_a_new_object_and_retry_makes_none(node: NodeProcess, orthanc: Orthanc, tmp_path: Path) -> None:
    files = write_ct(tmp_path / "ct")
    study, series = study_of(files), str(pydicom.dcmread(files[0]).SeriesInstanceUID)
    storescu(files, node.port)
    (first,) = orthanc.wait_for(1, study_uid=study)
    (job,) = node.wait(
        lambda: [j for j in node.jobs() if j["series_uid"] == series and j["state"] == "delivered"], what="the job"
    )
    assert "already" in node.cli("jobs", "retry", job["id"]).stdout
    node.cli("jobs", "rerun", job["id"])
    both = orthanc.wait_for(2, study_uid=study, settle_s=1)
    objects = [pydicom.dcmread(BytesIO(orthanc.download(instance))) for instance in both]
    assert len({seg.SOPInstanceUID for seg in objects}) == 2
    assert first in both
    for instance in both:
        assert_is_threshold(orthanc.download(instance), files, lambda hu: hu > 300)


def test_a_newer_version_replaces_what_was_not_delivered_yet(tmp_path: Path) -> None:
    files = write_ct(tmp_path / "ct")
    port = free_port()
    peer = {"ae_title": "SCRIPTED", "host": "127.0.0.1", "port": port, "timeout_s": 60}
    with NodeProcess(tmp_path / "node", peers={"pacs": peer}) as node:
        storescu(files[:-1], node.port)
        node.wait(lambda: node.read("SELECT 1 FROM voxtell_delivery"), what="an attempt")
        storescu(files[-1:], node.port)
        node.wait(lambda: "cancelled" in {job["state"] for job in node.jobs()}, what="the older job to be cancelled")
        with ScriptedScp(port=port) as scp:
            node.wait_for_jobs("cancelled", "delivered")
            (stored,) = scp.attempts
    seg = assert_is_threshold(stored.part10(), files, lambda hu: hu > 300)
    assert "v2" in seg.SeriesDescription

"""A stack whose spacing changes on a whole node: one job, one of each result, for a rule of a series or of a study."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from tests.series.stacks import steps, write_stack
from tests.system.made_study import write_one
from tests.system.node_process import CT_RULE, NodeProcess
from tests.system.peers.dcmtk import storescu
from tests.system.peers.orthanc import Orthanc
from tests.system.seg_check import assert_is_threshold, seg_frames
from voxtell_dicom.phantom import Acquisition
from voxtell_dicom.phantom.anatomy import torso
from voxtell_dicom.phantom.writer import uid

QUICK = {"quiet_s": 0.5, "incomplete_s": 1}
RUNS = steps((13, 3), (11, 1), (9, 2))


def stack(folder: Path, seed: int, number: int = 1) -> list[Path]:
    """Three runs of a torso, 12, 4 and 8 mm apart."""
    scan = Acquisition(slice_spacing_mm=4.0, pixel_spacing_mm=(8.0, 8.0), series_number=number)
    return write_stack(torso(seed), scan, RUNS, folder)


def test_one_job_and_one_of_each_result(orthanc: Orthanc, tmp_path: Path) -> None:
    files = stack(tmp_path / "ct", seed=41)
    study_uid = uid(41, "study")
    rule: dict[str, Any] = {**CT_RULE, "outputs": ["seg", "sr", "rtstruct", "secondary"], "receipt": "always"}
    peers = {"pacs": orthanc.dimse_settings}
    with NodeProcess(tmp_path / "node", peers=peers, rules=[rule], receive=QUICK) as node:
        storescu(files, node.port)
        node.wait_for_jobs("delivered")
        assert [len(orthanc.instances(study_uid, kind)) for kind in ("SEG", "SR", "RTSTRUCT", "OT")] == [1, 1, 1, 2]
        (instance,) = orthanc.instances(study_uid, "SEG")
        seg = assert_is_threshold(orthanc.download(instance), files, lambda hu: hu > 300)
        assert len(seg_frames(seg)) > 20
        assert "[!]" in seg.SeriesDescription
        (job,) = node.jobs_cli()
        assert any(warning.startswith("runs: the spacing changes along the stack") for warning in job["warnings"])

        storescu(files, node.port)  # a re-send is nothing new; a rerun is another result of the whole stack
        node.cli("jobs", "rerun", job["id"])
        node.wait_for_jobs("delivered", "delivered")
        (again,) = set(orthanc.instances(study_uid, "SEG")) - {instance}
        other = assert_is_threshold(orthanc.download(again), files, lambda hu: hu > 300)
        assert other.SOPInstanceUID != seg.SOPInstanceUID
        assert np.array_equal(other.pixel_array, seg.pixel_array)
        assert not list((node.storage / "work").glob("*.npy"))


def test_a_run_that_cannot_be_decoded_is_said_and_the_rest_is_held(orthanc: Orthanc, tmp_path: Path) -> None:
    files = stack(tmp_path / "ct", seed=42)
    broken = pydicom.dcmread(files[17])  # of the run in the middle
    broken.PixelData = broken.PixelData[:100]
    broken.save_as(files[17])
    study_uid = uid(42, "study")
    peers = {"pacs": orthanc.dimse_settings}
    with NodeProcess(tmp_path / "node", peers=peers, rules=[CT_RULE], receive=QUICK) as node:
        storescu(files, node.port)
        jobs = {job["state"]: job for job in node.wait_for_jobs("held", "refused")}
        assert jobs["refused"]["reason"].startswith("pixels:")
        assert "run 2 of 3, 4.00 mm apart is not in the result (pixels)" in jobs["held"]["reason"]
        assert orthanc.instances(study_uid, "SEG") == []
        node.cli("jobs", "release", jobs["held"]["id"])
        node.wait_for_jobs("delivered", "refused")
        (instance,) = orthanc.instances(study_uid, "SEG")
        assert_is_threshold(orthanc.download(instance), files[:14] + files[24:], lambda hu: hu > 300)


def test_a_study_rule_chooses_the_stack_as_one(orthanc: Orthanc, tmp_path: Path) -> None:
    files = stack(tmp_path / "ct", seed=43, number=2)
    other = write_one(tmp_path / "thick", 43, 3, 16)
    study_uid = uid(43, "study")
    rule = {**CT_RULE, "scope": "study", "choose": {"best": ["thinnest"]}}
    peers = {"pacs": orthanc.dimse_settings}
    with NodeProcess(tmp_path / "node", peers=peers, rules=[rule], receive=QUICK) as node:
        storescu([*files, *other], node.port)
        jobs = {job["state"]: job for job in node.wait_for_jobs("delivered", "unmatched")}
        assert "8.4848 mm between slices" in jobs["unmatched"]["reason"]
        assert node.log().count("study rule chose") == 1
        (instance,) = orthanc.instances(study_uid, "SEG")
        data = orthanc.download(instance)
        assert_is_threshold(data, files, lambda hu: hu > 300)
        assert pydicom.dcmread(BytesIO(data), stop_before_pixels=True).NumberOfFrames > 20

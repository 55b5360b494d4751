"""A rule of scope study on a whole node: one result for a study, on its best volume, however the study arrives."""

from __future__ import annotations

import json
import time
from io import BytesIO
from pathlib import Path

import pydicom

from tests.system.made_study import STUDY_RULE, series_uid, write_one, write_study
from tests.system.node_process import NodeProcess
from tests.system.peers.dcmtk import storescu
from tests.system.peers.orthanc import Orthanc
from tests.system.seg_check import assert_is_threshold
from voxtell_dicom.phantom.writer import uid

QUICK = {"quiet_s": 0.5}
SETTLE_S = 2.5  # longer than two quiet times and a job together


def test_six_series_over_three_associations_give_one_result_on_the_thin_soft_axial(
    orthanc: Orthanc, tmp_path: Path
) -> None:
    series = write_study(tmp_path / "study", seed=31)
    study_uid = uid(31, "study")
    names = {series_uid(files): name for name, files in series.items()}
    with NodeProcess(
        tmp_path / "node", peers={"pacs": orthanc.dimse_settings}, rules=[STUDY_RULE], receive=QUICK
    ) as node:
        storescu([*series["scout"], *series["thick"]], node.port)
        storescu([*series["sharp"], *series["coronal"]], node.port)
        storescu([*series["thin"], *series["dose"]], node.port)
        (instance,) = orthanc.wait_for(1, study_uid=study_uid, settle_s=SETTLE_S)
        assert_is_threshold(orthanc.download(instance), series["thin"], lambda hu: hu > 300)
        jobs = {(names[job["series_uid"]], job["state"]): job["reason"] for job in node.jobs()}
        assert set(jobs) == {
            ("thin", "delivered"),
            ("thick", "unmatched"),
            ("sharp", "unmatched"),
            ("coronal", "unmatched"),
            ("scout", "set_aside"),
        }
        assert jobs["thick", "unmatched"] == (
            "lost: bright: thinnest: 16 mm between slices, the chosen one has 8 mm between slices"
        )
        assert jobs["sharp", "unmatched"] == "lost: bright: does not meet volume.kernel"
        assert jobs["coronal", "unmatched"] == "lost: bright: does not meet volume.plane"
        assert node.log().count("study rule chose") == 1
        assert "PHANTOM-31" not in node.log()

        storescu(series["thin"], node.port)  # a re-send makes nothing new, nor does another look at a series that lost
        node.cli("jobs", "retry", next(job["id"] for job in node.jobs() if names[job["series_uid"]] == "thick"))
        node.wait(lambda: node.log().count("study rule chose") == 2, what="another look")
        time.sleep(SETTLE_S)
        assert {(names[job["series_uid"]], job["state"]): job["reason"] for job in node.jobs()} == jobs
        assert orthanc.instances(study_uid, "SEG") == [instance]


def test_a_better_series_that_comes_later_replaces_the_choice(orthanc: Orthanc, tmp_path: Path) -> None:
    study_uid = uid(32, "study")
    thick, thin = write_one(tmp_path / "thick", 32, 2, 16), write_one(tmp_path / "thin", 32, 3, 8)
    other = write_one(tmp_path / "sharp", 32, 4, 8, kernel="Br64d")
    with NodeProcess(
        tmp_path / "node", peers={"pacs": orthanc.dimse_settings}, rules=[STUDY_RULE], receive=QUICK
    ) as node:
        storescu(thick, node.port)
        node.wait(lambda: [job["state"] for job in node.jobs()] == ["waiting"], every_s=0.02)
        node.kill()  # the look is still to come
        node.start()
        (first,) = orthanc.wait_for(1, study_uid=study_uid)
        node.wait_for_jobs("delivered")
        storescu(other, node.port)  # a new state of the study, the same choice
        node.wait_for_jobs("delivered", "unmatched")
        storescu(thin, node.port)
        both = orthanc.wait_for(2, study_uid=study_uid, settle_s=1)
        node.wait_for_jobs("delivered", "delivered", "unmatched")
        (second,) = set(both) - {first}
        data = orthanc.download(second)
        assert_is_threshold(data, thin, lambda hu: hu > 300)
        old = pydicom.dcmread(BytesIO(orthanc.download(first)), stop_before_pixels=True)
        (newest,) = node.read(f"SELECT supersedes FROM voxtell_job WHERE series_uid = '{series_uid(thin)}'")
        assert json.loads(newest["supersedes"]) == [str(old.SOPInstanceUID)]
        assert "v2" in pydicom.dcmread(BytesIO(data), stop_before_pixels=True).SeriesDescription

"""A rule that asks for SUV: an analytic PET, a lesion of SUV 5 in a body of SUV 1, through a whole node."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import PositronEmissionTomographyImageStorage

from tests.series import slices
from tests.system.node_process import NodeProcess
from tests.system.peers.dcmtk import storescu
from tests.system.seg_check import seg_frames

SHAPE = (12, 40, 48)
WEIGHT_KG, INJECTED_BQ, HALF_LIFE_S, WAITED_S = 62.5, 310e6, 6586.2, 3900.0


def regions() -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Body and lesion, as (frame, row, column)."""
    z, y, x = np.indices(SHAPE)
    body = ((y - 20) / 17) ** 2 + ((x - 24) / 21) ** 2 < 1
    return body, (z - 6) ** 2 + (y - 15) ** 2 + (x - 30) ** 2 < 16


def pet(folder: Path, series: str, weight: float | None) -> list[Path]:
    """Activity as a scanner would write it: decayed since injection, in Bq/mL, by a rescale slope for each slice."""
    body, lesion = regions()
    left = INJECTED_BQ * 0.5 ** (WAITED_S / HALF_LIFE_S)
    activity = (body + 4.0 * lesion) * left / (WEIGHT_KG * 1000)
    slopes = np.array([f"{plane.max() / 30000:.9g}" for plane in activity], float)
    stored = np.rint(activity / slopes[:, None, None]).astype(np.int16)

    def edit(ds: Dataset, index: int) -> None:
        ds.SOPClassUID, ds.Modality = PositronEmissionTomographyImageStorage, "PT"
        ds.SOPInstanceUID, ds.SeriesInstanceUID = f"{series}.{index + 1}", series
        ds.RescaleSlope, ds.RescaleIntercept, ds.Units = f"{slopes[index]:.9g}", 0, "BQML"
        ds.CorrectedImage, ds.DecayCorrection, ds.PatientWeight = ["DECY", "ATTN"], "START", weight
        ds.SeriesDate = ds.AcquisitionDate = "20260102"
        ds.SeriesTime, ds.AcquisitionTime = "003000", f"0031{index:02d}"
        drug = Dataset()
        drug.RadionuclideTotalDose, drug.RadionuclideHalfLife = INJECTED_BQ, HALF_LIFE_S
        drug.RadiopharmaceuticalStartTime = "232500"  # 65 minutes before, on the day before
        ds.RadiopharmaceuticalInformationSequence = [drug]

    found = slices.save(slices.stack(stored, spacing=(4.0, 4.0, 4.0), edit=edit), folder)
    return [instance.path for instance in found.instances]


def test_model_gets_suv_where_the_rule_asks(tmp_path: Path) -> None:
    whole, weightless = f"{slices.UID}.71", f"{slices.UID}.72"
    rules = [
        {"name": "activity", "when": {"Modality": "PT"}, "prompts": ["> 2.5"], "send_to": ["out"]},
        {"name": "uptake", "when": {"Modality": "PT"}, "prompts": ["> 2.5"], "send_to": ["out"], "values": "suv"},
    ]
    with NodeProcess(tmp_path / "node", peers={"out": {"folder": str(tmp_path / "out")}}, rules=rules) as node:
        storescu(pet(tmp_path / "whole", whole, WEIGHT_KG), node.port)
        storescu(pet(tmp_path / "weightless", weightless, None), node.port)
        jobs = node.wait(
            lambda: (
                [job for job in node.jobs() if job["state"] in ("delivered", "refused")][:4]
                if sum(job["state"] in ("delivered", "refused") for job in node.jobs()) >= 4
                and len(list((tmp_path / "out").rglob("*.dcm"))) >= 4
                and not node.busy()
                else []
            ),
            what="four jobs",
        )
    (refused,) = [job for job in jobs if job["state"] == "refused"]
    assert refused["series_uid"] == weightless
    assert refused["reason"].startswith("suv: ")
    assert "Patient's Weight (0010,1030) is missing" in refused["reason"]
    body, lesion = regions()
    masks = {"activity": body, "uptake": lesion}
    seen = []
    for path in (tmp_path / "out").rglob("*.dcm"):
        seg = pydicom.dcmread(path)
        if seg.Modality == "OT":  # the receipt of what was refused, of the rule that asks for SUV alone
            assert "uptake receipt [refused]" in seg.SeriesDescription
            assert f"! {refused['reason']}" in seg.ImageComments.splitlines()
            seen.append((str(seg.ReferencedSeriesSequence[0].SeriesInstanceUID), "receipt"))
            continue
        source = str(seg.ReferencedSeriesSequence[0].SeriesInstanceUID)
        rule = next(name for name in masks if name in str(seg.SeriesDescription))
        found = seg_frames(seg)
        for index, plane in enumerate(masks[rule]):
            got = found.get((f"{source}.{index + 1}", 1), np.zeros_like(plane))
            assert np.array_equal(got, plane), (rule, index)
        seen.append((source, rule))
    assert sorted(seen) == [
        (whole, "activity"),
        (whole, "uptake"),
        (weightless, "activity"),
        (weightless, "receipt"),
    ]

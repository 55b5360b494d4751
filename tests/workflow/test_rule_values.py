"""`values` and `frames_of_reference` of a rule, each rule for itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import structlog
from pydicom.dataset import Dataset

from tests.series import slices
from tests.series.cases import many
from voxtell_dicom.config import Rule
from voxtell_dicom.dicom.suv import suv_factor
from voxtell_dicom.errors import Refusal
from voxtell_dicom.line.load import load_array
from voxtell_dicom.line.plan import PlanContext, Planning, plan_series
from voxtell_dicom.model import PlanOptions, Series
from voxtell_dicom.series.headers import assemble

CORPUS = Path(os.environ.get("VOXTELL_DICOM_CORPUS") or "/nonexistent")


def rule(name: str, modality: str, **more: Any) -> Rule:
    return Rule.model_validate({"name": name, "when": {"Modality": modality}, "prompts": ["> 2.5"], **more})


def planned(series: Series, folder: Path, *rules: Rule) -> Planning:
    return plan_series(series, rules, PlanContext("e", "1", folder), PlanOptions())


def pet(drug: dict[str, Any] | None = None, **more: Any) -> Dataset:
    ds, item = Dataset(), Dataset()
    values = {"RadionuclideTotalDose": 3e8, "RadionuclideHalfLife": 6586.2, "RadiopharmaceuticalStartTime": "100000"}
    for keyword, value in {**values, **(drug or {})}.items():
        setattr(item, keyword, value)
    ds.SOPInstanceUID, ds.Modality, ds.RadiopharmaceuticalInformationSequence = "2.25.9", "PT", [item]
    ds.PatientWeight, ds.Units, ds.DecayCorrection, ds.CorrectedImage = 75, "BQML", "START", ["DECY", "ATTN"]
    ds.SeriesDate = ds.AcquisitionDate = "20260102"
    ds.SeriesTime, ds.AcquisitionTime = "110000.0", "110010"
    for keyword, value in more.items():
        setattr(ds, keyword, value)
    return ds


def test_stored_and_suv_are_two_arrays_and_two_plans(tmp_path: Path) -> None:
    def edit(ds: Dataset, index: int) -> None:
        ds.update(pet(SOPInstanceUID=ds.SOPInstanceUID))
        ds.RescaleSlope, ds.RescaleIntercept = 1 + index % 2, 0

    series = slices.save(slices.stack(slices.noise((6, 20, 24)), edit=edit), tmp_path / "pet")
    found = planned(series, tmp_path / "work", rule("a", "PT"), rule("b", "PT", values="suv"), rule("c", "PT"))
    stored, suv = found.planned
    assert [plan.rule for plan in stored.plans] == ["a", "c"]
    assert [plan.rule for plan in suv.plans] == ["b"]
    assert stored.volume.key == suv.volume.key
    assert stored.arrays != suv.arrays
    factor = 75000 / (3e8 * 0.5 ** (3600 / 6586.2))
    np.testing.assert_allclose(np.load(suv.arrays[0]), np.load(stored.arrays[0]) * factor, rtol=1e-6)
    assert stored.plans[0].options.values == "stored"
    assert suv.plans[0].options == PlanOptions(values="suv")  # hence another plan key, and other UIDs


def test_which_of_several_volumes_a_rule_takes_is_logged(tmp_path: Path) -> None:
    short = slices.stack(slices.noise((5, 20, 24), 1), ConvolutionKernel="B30f")
    slices_of_both = many(short, slices.stack(slices.noise((6, 20, 24)), ConvolutionKernel="B70f"))
    with structlog.testing.capture_logs() as logs:
        (one,) = planned(slices.save(slices_of_both, tmp_path / "ct"), tmp_path, rule("a", "CT")).planned
    assert one.volume.name == "kernel B70f"
    (said,) = [entry for entry in logs if entry["event"] == "rule takes one of several volumes"]
    assert (said["volumes"], said["others"], said["because"]) == (
        ["kernel B70f"],
        ["kernel B30f"],
        "the largest, then the first",
    )


def test_slices_must_agree(tmp_path: Path) -> None:
    def edit(ds: Dataset, index: int) -> None:
        ds.update(pet(SOPInstanceUID=ds.SOPInstanceUID, PatientWeight=70 + index))

    series = slices.save(slices.stack(slices.noise((6, 20, 24)), edit=edit), tmp_path / "pet")
    found = planned(series, tmp_path / "work", rule("b", "PT", values="suv"))
    assert not found.planned
    assert [item.code for item in found.set_aside] == ["suv"]


@pytest.mark.parametrize(
    ("ds", "factor"),
    [
        (pet(DecayCorrection="ADMIN"), 75000 / 3e8),
        (pet({"RadiopharmaceuticalStartDateTime": "20260102090000"}), 75000 / (3e8 * 0.5 ** (7200 / 6586.2))),
        (pet(Units="GML"), 1.0),
        (pet({"RadiopharmaceuticalStartTime": "235000"}, SeriesTime="001000", AcquisitionTime="001000"),
         75000 / (3e8 * 0.5 ** (1200 / 6586.2))),
    ],
)  # fmt: skip
def test_factor(ds: Dataset, factor: float) -> None:
    assert suv_factor(ds) == pytest.approx(factor, rel=1e-9)


def test_philips_counts() -> None:
    ds = pet(Units="CNTS")
    with pytest.raises(Refusal, match=r"\(7053,1000\) or .* is needed"):
        suv_factor(ds)
    ds.private_block(0x7053, "Philips PET Private Group", create=True).add_new(0x00, "DS", "0.000425")
    assert suv_factor(ds) == pytest.approx(0.000425)


@pytest.mark.parametrize(
    ("ds", "said"),
    [
        (pet(PatientWeight=None), r"Patient's Weight \(0010,1030\) is missing"),
        (pet(PatientWeight=75000), r"\(0010,1030\) is 75000"),
        (pet({"RadionuclideTotalDose": 300}), r"\(0018,1074\) is 300"),
        (pet({"RadionuclideHalfLife": 0}), r"\(0018,1075\) is 0"),
        (pet({"RadiopharmaceuticalStartTime": "113000"}), r"\(0018,1072\) is 113000"),
        (pet({"RadiopharmaceuticalStartTime": ""}), r"\(0018,1072\) is missing"),
        (pet({"RadiopharmaceuticalStartDateTime": "20260101090000"}), r"\(0018,1078\) is 20260101090000"),
        (pet({"RadionuclideHalfLife": 282240}), r"\(0018,1072\) is 100000: without a date"),
        (pet(SeriesTime="113000"), r"\(0008,0031\) is 113000"),
        (pet(DecayCorrection="NONE"), r"\(0054,1102\) is NONE"),
        (pet(CorrectedImage=["DECY"]), r"\(0028,0051\) is DECY: ATTN"),
        (pet(Units="PROPCNTS"), r"\(0054,1001\) is PROPCNTS"),
        (pet(Units="GML", SUVType="BSA"), r"\(0054,1006\) is BSA"),
        (pet(RadiopharmaceuticalInformationSequence=[]), r"\(0054,0016\) is 0 items"),
        (pet(Modality="CT"), r"\(0008,0060\) is CT"),
    ],
)
def test_refused_by_tag(ds: Dataset, said: str) -> None:
    with pytest.raises(Refusal, match=said) as caught:
        suv_factor(ds)
    assert (caught.value.code, caught.value.uid) == ("suv", "2.25.9")


@pytest.mark.corpus
def test_real_pet_as_another_program_computed_it(tmp_path: Path) -> None:
    folder = CORPUS / "pt_body_ac_tcia"
    if not folder.is_dir():  # a site's own corpus
        return
    (mapping,) = [ds for path in folder.glob("*.dcm") if (ds := pydicom.dcmread(path)).Modality == "RWV"]
    (item,) = mapping.ReferencedImageRealWorldValueMappingSequence[0].RealWorldValueMappingSequence
    (volume,) = assemble(slices.series_in(folder)).volumes
    stored, suv = (np.load(load_array(volume, tmp_path, values)[1]) for values in ("stored", "suv"))
    bright = stored > 100
    assert bright.any()
    np.testing.assert_allclose(suv[bright] / stored[bright], item.RealWorldValueSlope, rtol=1e-5)


def mixed(folder: Path, per_reference: int = 4) -> Series:
    def edit(ds: Dataset, index: int) -> None:
        ds.FrameOfReferenceUID = f"{slices.UID}.3.{index // per_reference}"

    return slices.save(slices.stack(slices.noise((6, 20, 24)), edit=edit), folder)


def test_frames_of_reference_are_one_where_accepted(tmp_path: Path) -> None:
    found = planned(mixed(tmp_path / "ct"), tmp_path, rule("lax", "CT", frames_of_reference="accept"))
    (one,) = found.planned
    assert not found.set_aside
    assert one.volume.grid.shape == (6, 20, 24)
    assert one.volume.frame_of_reference_uid == f"{slices.UID}.3.0"  # of four slices, against two
    (said,) = one.volume.warnings
    assert said.startswith("mixed-frames-of-reference: 2 different values of Frame of Reference UID (0020,0052)")


def test_frames_of_reference_are_each_rules_own_matter(tmp_path: Path) -> None:
    series = mixed(tmp_path / "ct", per_reference=3)
    assert [item.code for item in planned(series, tmp_path, rule("strict", "CT")).set_aside] == [
        "mixed-frames-of-reference"
    ]
    both = planned(series, tmp_path, rule("strict", "CT"), rule("lax", "CT", frames_of_reference="accept"))
    assert [plan.rule for one in both.planned for plan in one.plans] == ["lax"]
    (refused,) = both.set_aside
    assert (refused.code, refused.refused) == ("mixed-frames-of-reference", True)
    assert "'strict'" in refused.reason


def test_geometry_still_decides(tmp_path: Path) -> None:
    def edit(ds: Dataset, index: int) -> None:
        ds.FrameOfReferenceUID = f"{slices.UID}.3.{index // 3}"

    datasets = [ds for index, ds in enumerate(slices.stack(slices.noise((9, 20, 24)), edit=edit)) if index != 4]
    found = planned(slices.save(datasets, tmp_path / "ct"), tmp_path, rule("lax", "CT", frames_of_reference="accept"))
    assert not found.planned
    assert [item.code for item in found.set_aside] == ["missing-slice"]

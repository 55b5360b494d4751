"""SUV factors of what vendors and multi-frame objects write, against numbers computed another way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom.legacy
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedPETImageStorage, PositronEmissionTomographyImageStorage

from tests.series import slices
from tests.series.multiframe_cases import _for_conversion, converted, enhanced, item, places
from tests.workflow.test_rule_values import pet, planned, rule
from voxtell_dicom.dicom.functional_groups import frame_header
from voxtell_dicom.dicom.suv import suv_factor
from voxtell_dicom.errors import Refusal
from voxtell_dicom.line.load import load_array
from voxtell_dicom.series.headers import assemble

HALF_LIFE_S = 6586.2


def by_weight(waited_s: float, weight_kg: float = 75, dose_bq: float = 3e8) -> float:
    """Activity left after `waited_s`, in steps of a second: no exponential in it."""
    left = dose_bq
    for _ in range(int(waited_s)):
        left *= 1 - np.log(2) / HALF_LIFE_S + (np.log(2) / HALF_LIFE_S) ** 2 / 2
    return weight_kg * 1000 / left


def philips(offset: int, value: Any, vr: str = "DS", **more: Any) -> Dataset:
    ds = pet(Units="CNTS", **more)
    ds.private_block(0x7053, "Philips PET Private Group", create=True).add_new(offset, vr, value)
    return ds


def test_philips_activity_factor() -> None:
    assert suv_factor(philips(0x09, "1.7")) == pytest.approx(1.7 * by_weight(3600), rel=1e-6)
    assert suv_factor(philips(0x09, b"1.7 ", "UN")) == pytest.approx(1.7 * by_weight(3600), rel=1e-6)
    both = philips(0x00, "0.0")
    both.private_block(0x7053, "Philips PET Private Group").add_new(0x09, "DS", "2.0")
    assert suv_factor(both) == pytest.approx(2 * by_weight(3600), rel=1e-6)  # a factor of 0 is none
    with pytest.raises(Refusal, match=r"Patient's Weight \(0010,1030\) is missing"):
        suv_factor(philips(0x09, "1.7", PatientWeight=None))
    with pytest.raises(Refusal, match=r"\(7053,1000\) or Activity Concentration Scale Factor \(7053,1009\)"):
        suv_factor(philips(0x09, "0"))


def test_ge_scan_time_where_the_series_is_derived() -> None:
    ds = pet(SeriesTime="150000", Manufacturer="GE MEDICAL SYSTEMS")
    ds.private_block(0x0009, "GEMS_PETD_01", create=True).add_new(0x0D, "DT", "20260102110500.00")
    assert suv_factor(ds) == pytest.approx(by_weight(3900), rel=1e-6)


def test_frame_reference_time_where_the_series_is_derived() -> None:
    """Activity decayed to the start of the scan has its mean over the frame at the frame reference time."""
    acquired_s, duration_s = 4200.0, 600.0  # after injection at 10:00
    times = np.linspace(acquired_s, acquired_s + duration_s, 200_001)
    mean = np.trapezoid(0.5 ** (times / HALF_LIFE_S), times) / duration_s
    mean_at_s = -HALF_LIFE_S * np.log2(mean)
    scan_s = 3600.0
    ds = pet(SeriesTime="150000", AcquisitionTime="111000", FrameReferenceTime=1000 * (mean_at_s - scan_s))
    ds.ActualFrameDuration = 600_000
    assert suv_factor(ds) == pytest.approx(by_weight(scan_s), rel=1e-6)
    del ds.ActualFrameDuration
    with pytest.raises(Refusal, match=r"\(0008,0031\) is 150000: after .* \(0054,1300\) and .* \(0018,1242\)"):
        suv_factor(ds)


def test_times_of_two_zones() -> None:
    ds = pet({"RadiopharmaceuticalStartDateTime": "20260102090000+0000"}, TimezoneOffsetFromUTC="+0100")
    assert suv_factor(ds) == pytest.approx(by_weight(3600), rel=1e-6)


def test_legacy_converted(tmp_path: Path) -> None:
    def edit(ds: Dataset, index: int) -> None:
        _for_conversion(ds, index)
        ds.update(pet(SOPInstanceUID=ds.SOPInstanceUID))
        ds.SOPClassUID = PositronEmissionTomographyImageStorage
        ds.SeriesDate = ds.AcquisitionDate = "20260102"
        ds.SeriesTime, ds.AcquisitionTime = "110000", f"1101{index:02d}"
        ds.RescaleSlope, ds.RescaleIntercept = 1 + index, 0
        ds.FrameReferenceTime, ds.ActualFrameDuration = 1000, 60_000

    classic = slices.stack(slices.noise((6, 20, 24)), edit=edit)
    series = slices.save(converted(highdicom.legacy.LegacyConvertedEnhancedPETImage, classic), tmp_path / "pet")
    (one,) = planned(series, tmp_path / "work", rule("b", "PT", values="suv")).planned
    (volume,) = assemble(series).volumes
    stored, _ = (np.load(load_array(volume, tmp_path / "work", values)[1]) for values in ("stored", "suv"))
    np.testing.assert_allclose(np.load(one.arrays[0]), stored * by_weight(3600), rtol=1e-6)


def enhanced_pet(unit: str, slope: float = 0.5) -> Dataset:
    ds = enhanced(
        slices.noise((3, 8, 6)),
        [{**place, "slope": 0.5} for place in places(3)],
        sop_class=EnhancedPETImageStorage,
        modality="PT",
    )
    drug = item(RadionuclideTotalDose=3e8, RadionuclideHalfLife=HALF_LIFE_S)
    drug.RadiopharmaceuticalStartDateTime = "20260102100000"
    ds.RadiopharmaceuticalInformationSequence, ds.PatientWeight = [drug], 75
    ds.DecayCorrected = ds.AttenuationCorrected = "YES"
    ds.DecayCorrectionDateTime = "20260102111000"
    for groups in ds.PerFrameFunctionalGroupsSequence:
        code = item(CodeValue=unit, CodingSchemeDesignator="UCUM", CodeMeaning=unit)
        mapped = item(RealWorldValueSlope=slope, RealWorldValueIntercept=-10.0, MeasurementUnitsCodeSequence=[code])
        groups.RealWorldValueMappingSequence = [mapped]
    return ds


def test_enhanced() -> None:
    for frame in (1, 2, 3):
        header = frame_header(enhanced_pet("Bq/ml"), frame)
        assert suv_factor(header) == pytest.approx(by_weight(4200), rel=1e-6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"unit": "counts"}, r"Units \(0054,1001\) is missing"),
        ({"unit": "Bq/ml", "slope": 0.7}, r"Units \(0054,1001\) is missing"),  # its unit is not that of the rescale
        (
            {"DecayCorrected": "NO"},
            r"Corrected Image \(0028,0051\) is ATTN",
        ),
        ({"DecayCorrectionDateTime": None}, r"Decay Correction \(0054,1102\) is missing"),
        ({"DecayCorrectionDateTime": "20260102090000"}, r"\(0018,1078\) is 20260102100000"),
    ],
)
def test_enhanced_is_refused_by_tag(change: dict[str, Any], said: str) -> None:
    ds = enhanced_pet(change.pop("unit", "Bq/ml"), change.pop("slope", 0.5))
    for keyword, value in change.items():
        setattr(ds, keyword, value)
    with pytest.raises(Refusal, match=said) as caught:
        suv_factor(frame_header(ds, 1))
    assert caught.value.code == "suv"

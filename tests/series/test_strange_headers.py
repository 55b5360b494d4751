"""Whatever stands in the headers: an assembly or a refusal by name, and no volume whose masks are wrong."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import pydicom
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from tests.series import multiframe_cases, slices  # noqa: F401 - adds its cases
from tests.series.cases import CASES
from voxtell_dicom.engine.threshold import ThresholdEngine
from voxtell_dicom.verify import verify_series

KEYWORDS = [
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SliceLocation", "ImageType",
    "SpacingBetweenSlices", "EchoTime", "AcquisitionNumber", "InstanceNumber", "TemporalPositionIdentifier", "Modality",
    "FrameOfReferenceUID", "PatientID", "SOPClassUID", "RescaleSlope", "RescaleIntercept", "NumberOfFrames", "Rows",
    "BitsStored", "HighBit", "PixelRepresentation", "TriggerTime", "AcquisitionTime", "SequenceName", "SamplesPerPixel",
    "DiffusionBValue", "ImagesInAcquisition", "LossyImageCompression", "PhotometricInterpretation", "StudyInstanceUID",
]  # fmt: skip
TEXTS = [
    "",
    "0",
    "1",
    "-1",
    "nan",
    "inf",
    "1e300",
    "abc",
    "1\\2",
    "1\\2\\3",
    "0\\0\\0",
    "1.5 ",
    "1,5",
    "2.25.7",
    "\\\\",
]
NUMBERS = [0, 1, 2, 7, 8, 15, 16, 32, 64, 65535]


def spoil(ds: Dataset, keyword: str, text: str, number: int) -> None:
    """Set an attribute to raw bytes that pydicom would not write of itself; or take it away."""
    from pydicom.datadict import dictionary_VR

    tag = Tag(keyword)
    vr = dictionary_VR(tag).split(" or ")[0]
    if text == "" and number == 65535:
        ds.pop(tag, None)
    elif vr == "US":
        ds[tag] = DataElement(tag, vr, number)
    elif vr == "FD":
        ds[tag] = DataElement(tag, vr, float(number))
    else:
        raw = text.encode() + b" " * (len(text) % 2)
        ds[tag] = DataElement(tag, "UN", raw)  # read again, it gets the VR of its tag


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    changes=st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from(KEYWORDS), st.sampled_from(TEXTS), st.sampled_from(NUMBERS)),
        min_size=1,
        max_size=4,
    ),
    everywhere=st.booleans(),
)
def test_strange(changes: list[tuple[int, str, str, int]], everywhere: bool) -> None:
    datasets = slices.stack(slices.noise((6, 24, 20)))
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(pydicom.config, "replace_un_with_known_vr", False)
    for which, keyword, text, number in changes:
        for ds in datasets if everywhere else [datasets[which]]:
            spoil(ds, keyword, text, number)
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(name)
        (folder / "series").mkdir()
        for index, ds in enumerate(datasets):
            ds.save_as(folder / "series" / f"{index}.dcm", implicit_vr=False, little_endian=True)
        monkeypatch.undo()
        found = list(verify_series(slices.series_in(folder / "series"), ThresholdEngine(), folder))
    assert found
    for each in found:
        assert each.outcome != "wrong", each.reason
        if each.outcome == "refused":
            assert each.row.code or ":" in each.reason


def nested(ds: Dataset) -> list[Dataset]:
    """A dataset and all items of its sequences."""
    items = [item for element in ds if element.VR == "SQ" for item in element.value]
    return [ds, *(deeper for item in items for deeper in nested(item))]


def spoil_in_groups(ds: Dataset, where: int, which: int, text: str) -> None:
    """Take an attribute of any item away, or set it to something that it should not be."""
    items = [item for item in nested(ds) if len(item)]
    item = items[where % len(items)]
    tag = sorted(item.keys())[which % len(item)]
    element = item[tag]
    if tag == 0x7FE00010:
        return
    if text == "" or element.VR in ("US", "FD", "FL", "SS", "UL", "AT", "OB"):
        del item[tag]
    elif element.VR == "SQ":
        element.value = element.value[:-1]
    else:
        raw = text.encode() + b" " * (len(text) % 2)
        item[tag] = RawDataElement(tag, element.VR, len(raw), raw, 0, False, True)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(["enhanced-ct", "enhanced-mr-shuffled", "enhanced-pet", "enhanced-b-values", "legacy-ct"]),
    changes=st.lists(
        st.tuples(st.integers(0, 500), st.integers(0, 500), st.sampled_from(TEXTS)), min_size=1, max_size=3
    ),
)
def test_strange_groups(name: str, changes: list[tuple[int, int, str]]) -> None:
    (ds,) = next(case for case in CASES if case.name == name).build()
    for where, which, text in changes:
        spoil_in_groups(ds, where, which, text)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (Path(folder) / "series").mkdir()
        try:
            ds.save_as(Path(folder) / "series" / "0.dcm", enforce_file_format=True)
        except Exception:  # what pydicom cannot even write
            assume(False)
        found = list(verify_series(slices.series_in(Path(folder) / "series"), ThresholdEngine(), Path(folder)))
    assert found
    for each in found:
        assert each.outcome != "wrong", each.reason
        if each.outcome == "refused":
            assert each.row.code or ":" in each.reason

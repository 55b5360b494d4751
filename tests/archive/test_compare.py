"""The same instance, written otherwise by another archive, is the same; what has another meaning is not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from pydicom.dataset import Dataset

from tests.receive.receiving import make_slice
from tests.series.modality_cases import nm
from tests.series.multiframe_cases import item
from tests.series.slices import noise
from voxtell_dicom.archive.compare import HEADERS, SAME, compare
from voxtell_dicom.errors import Refusal


def compared(before: Dataset, after: Dataset) -> str:
    files = []
    for ds in (before, after):
        file = BytesIO()
        ds.save_as(file, enforce_file_format=True)
        file.seek(0)
        files.append(file)
    return compare(*files, "1.2.3")


def changed(ds: Dataset, **attributes: Any) -> Dataset:
    """Return a copy with other values; None removes an attribute."""
    other = copy.deepcopy(ds)
    for keyword, value in attributes.items():
        if value is None:
            other.pop(keyword, None)
        else:
            setattr(other, keyword, value)
    return other


SAME_MEANING: dict[str, Callable[[Dataset], tuple[Dataset, Dataset]]] = {
    "Number of Frames 1 is added": lambda ds: (ds, changed(ds, NumberOfFrames=1)),
    "Number of Frames 1 is removed": lambda ds: (changed(ds, NumberOfFrames=1), ds),
    "rescale by 1 and 0 is added": lambda ds: (
        changed(ds, RescaleSlope=None, RescaleIntercept=None),
        changed(ds, RescaleSlope="1", RescaleIntercept="0"),
    ),
    "decimal strings are written otherwise": lambda ds: (
        changed(ds, PixelSpacing=["1", "1"], RescaleIntercept="-1024"),
        changed(ds, PixelSpacing=["1.0", "1.00"], RescaleIntercept="-1.024e3"),
    ),
    "an empty attribute is added": lambda ds: (ds, changed(ds, InstitutionName="", ProcedureCodeSequence=[])),
    "an empty attribute is removed": lambda ds: (changed(ds, ReferringPhysicianName=""), ds),
    "the character set is UTF-8": lambda ds: (
        changed(ds, SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Jörg", StudyDescription="Schädel"),
        changed(ds, SpecificCharacterSet="ISO_IR 192", PatientName="Müller^Jörg", StudyDescription="Schädel"),
    ),
    "a character set is declared for ASCII": lambda ds: (ds, changed(ds, SpecificCharacterSet="ISO_IR 100")),
}


@pytest.mark.parametrize("case", SAME_MEANING)
def test_another_form_is_the_same_instance(case: str) -> None:
    assert compared(*SAME_MEANING[case](make_slice("1.2", 1))) == SAME


CORRECTIONS = {
    "AccessionNumber": "A2",
    "PatientName": "Doe^Joan",
    "StudyDescription": "other",
    "InstitutionName": "added",
}


@pytest.mark.parametrize("keyword", CORRECTIONS)
def test_another_value_is_a_correction(keyword: str) -> None:
    ds = make_slice("1.2", 1)
    assert compared(ds, changed(ds, **{keyword: CORRECTIONS[keyword]})) == HEADERS


def test_the_same_bytes_in_another_character_set_are_a_correction() -> None:
    ds = changed(make_slice("1.2", 1), SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Jörg")
    other = changed(ds, SpecificCharacterSet="ISO_IR 144", PatientName=b"M\xfcller^J\xf6rg".decode("iso8859_5"))
    assert compared(ds, other) == HEADERS


@pytest.mark.parametrize(
    "content",
    [
        {"RescaleIntercept": "-1000"},
        {"RescaleSlope": None, "RescaleIntercept": None},
        {"ImagePositionPatient": [0, 0, 9]},
        {"PixelSpacing": [2, 1]},
        {"Modality": "MR"},
    ],
    ids=str,
)
def test_another_content_is_refused(content: dict[str, Any]) -> None:
    ds = changed(make_slice("1.2", 1), RescaleSlope="2")
    with pytest.raises(Refusal, match="other content"):
        compared(ds, changed(ds, **content))


@pytest.mark.parametrize(
    "content",
    [
        {"SpacingBetweenSlices": -2},
        {"SliceVector": [1, 3, 2]},
        {"DetectorInformationSequence": [item(ImagePositionPatient=[0, 0, 9])]},
    ],
    ids=str,
)
def test_nm_slices_at_another_place_are_other_content(content: dict[str, Any]) -> None:
    ds = nm(noise((3, 4, 5)))
    assert compared(ds, changed(ds, StudyDescription="other")) == HEADERS
    with pytest.raises(Refusal, match="other content"):
        compared(ds, changed(ds, **content))

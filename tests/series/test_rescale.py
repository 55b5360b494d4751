"""The rescale is what the header says, or refused by name: a slope that is no number must not pass for 1."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.uid import ExplicitVRLittleEndian

from voxtell_dicom.dicom.rescale import Rescale, rescale_of
from voxtell_dicom.errors import Refusal


def as_read(tmp_path: Path, **values: str) -> Dataset:
    """A dataset whose values are still the bytes of a file."""
    ds = Dataset()
    ds.SOPInstanceUID = "2.25.7"
    tags = {"RescaleIntercept": 0x00281052, "RescaleSlope": 0x00281053}
    raw = b"".join(
        tag.to_bytes(4, "little")[2:] + tag.to_bytes(4, "little")[:2] + b"DS" + len(text).to_bytes(2, "little") + text
        for tag, text in sorted((tags[name], value.encode()) for name, value in values.items())
    )
    path = tmp_path / "header.dcm"
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.file_meta.MediaStorageSOPInstanceUID = "2.25.7"
    buffer = DicomBytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    path.write_bytes(buffer.getvalue() + raw)
    return pydicom.dcmread(path)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, Rescale(1.0, 0.0)),
        ({"RescaleSlope": "0.5 ", "RescaleIntercept": "-3"}, Rescale(0.5, -3.0)),
        ({"RescaleSlope": "", "RescaleIntercept": ""}, Rescale(1.0, 0.0)),
    ],
)
def test_what_is_stated_counts(values: dict[str, str], expected: Rescale, tmp_path: Path) -> None:
    assert rescale_of(as_read(tmp_path, **values), 1) == expected


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"RescaleSlope": "1,5 "}, "Rescale Slope (0028,1053) is 1,5"),
        ({"RescaleIntercept": "none"}, "Rescale Intercept (0028,1052) is none"),
        ({"RescaleSlope": "nan "}, "Rescale Slope (0028,1053) is nan"),
        ({"RescaleSlope": "0 "}, "Rescale Slope (0028,1053) is 0"),
        ({"RescaleSlope": "1 ", "RescaleIntercept": "1\\2 "}, "Rescale Intercept (0028,1052) is [1, 2]"),
        ({"RescaleSlope": "", "RescaleIntercept": "-3"}, "Rescale Slope (0028,1053) is missing"),
        ({"RescaleSlope": "1e-2 "}, "Rescale Intercept (0028,1052) is missing"),
        ({"RescaleIntercept": "1e999 "}, "Rescale Intercept (0028,1052) is 1e999"),
    ],
)
def test_what_is_no_number_is_refused(values: dict[str, str], words: str, tmp_path: Path) -> None:
    with pytest.raises(Refusal) as caught:
        rescale_of(as_read(tmp_path, **values), 1)
    assert caught.value.code == "rescale"
    assert caught.value.uid == "2.25.7"
    assert words in str(caught.value)

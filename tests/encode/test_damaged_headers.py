"""Receipts do not depend on the header that made a job fail: damaged attributes are left out of them."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pydicom
import pytest
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from tests.encode import made
from voxtell_dicom.dicom.subject import PATIENT_AND_STUDY
from voxtell_dicom.encode import Notice, encode_notice

DAMAGED = [b"\xff\xfe\xfd\xfc", b"abcd", b"9" * 70, b"\0\1", b"1\\2\\x ", b"\x1b$B!!!", b"\x1b[2J\n\n"]
OF_SERIES = [
    "BodyPartExamined",
    "Laterality",
    "SeriesNumber",
    "SeriesDescription",
    "SeriesDate",
    "SeriesTime",
    "Modality",
]
OTHERS = [
    "Modality",
    "TimezoneOffsetFromUTC",
    "Manufacturer",
    "SoftwareVersions",
    "ContributingEquipmentSequence",
    "ImageType",
]
IDENTITY = {"PatientID", "PatientName", "IssuerOfPatientID"}  # where these are damaged, whose it is is not known
KEYWORDS = [*(name for name in PATIENT_AND_STUDY if name not in IDENTITY), *OF_SERIES, *OTHERS]
SEQUENCES = [keyword for keyword in KEYWORDS if dictionary_VR(tag_for_keyword(keyword) or 0) == "SQ"]
CHOSEN = [
    *((keyword, value) for keyword in SEQUENCES[::6] for value in DAMAGED[::3]),
    *((keyword, random.Random(keyword).choice(DAMAGED)) for keyword in KEYWORDS[::5]),
]


def damage(path: Path, target: Path, keyword: str, value: bytes) -> None:
    """Write an instance whose element of that keyword holds those bytes."""
    ds = pydicom.dcmread(path)
    tag = tag_for_keyword(keyword)
    assert tag is not None
    vr = dictionary_VR(tag)[:2]
    ds.pop(tag, None)
    ds.add_new(tag, "OB", value)
    ds.save_as(target)
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    written = head + struct.pack("<2sHL", b"OB", 0, len(value)) + value
    long = vr in EXPLICIT_VR_LENGTH_32
    length = struct.pack("<HL", 0, len(value)) if long else struct.pack("<H", len(value))
    data = target.read_bytes()
    assert data.count(written) == 1
    target.write_bytes(data.replace(written, head + vr.encode() + length + value))


@pytest.mark.parametrize(("keyword", "value"), CHOSEN)
def test_a_damaged_attribute_costs_no_receipt(tmp_path: Path, keyword: str, value: bytes) -> None:
    volume, plan = made.volume(tmp_path / "s"), made.plan(["liver"], outputs=("receipt",))
    paths = tuple(tmp_path / f"{number}.dcm" for number in range(2))
    for frame, path in zip(volume.frames, paths, strict=False):
        damage(frame.path, path, keyword, value)
    prompts = (("Liver", "no result"),)
    notice = Notice("failed", ("why",), prompts, volume.study_uid, volume.series_uid, paths)
    for form in ("secondary", "sr"):
        receipt = encode_notice(plan, notice, directory=tmp_path / "out", form=form, engine="phantom")
        assert pydicom.dcmread(receipt.path).PatientID == pydicom.dcmread(volume.frames[0].path).PatientID

"""Patient and study text reaches every kind of result byte for byte; our own words fit its character set."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pydicom
import pytest
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from tests.encode import made
from voxtell_dicom.dicom.library_internals import write_undecoded
from voxtell_dicom.encode.capture.secondary import encode_secondary
from voxtell_dicom.encode.common.context import ASCII_WORDS, OutputContext
from voxtell_dicom.encode.receipt.receipt import encode_receipt
from voxtell_dicom.encode.report.sr import encode_sr
from voxtell_dicom.encode.rtstruct.structure_set import encode_rtstruct
from voxtell_dicom.encode.seg.segmentation import encode_seg
from voxtell_dicom.model import Prompt, Result, Volume


def raw(ds: Dataset, keyword: str, value: bytes) -> None:
    """Set the bytes of an element as they are."""
    tag = Tag(tag_for_keyword(keyword))
    ds.pop(tag, None)
    ds[tag] = RawDataElement(tag, dictionary_VR(tag), len(value), value, 0, False, True)


def volume_of(folder: Path, charset: object, texts: dict[str, bytes]) -> Volume:
    """Return a volume of a series whose text has these bytes."""
    volume = made.volume(folder)
    for path in sorted(folder.glob("*.dcm")):
        ds = pydicom.dcmread(path)
        ds.pop("SpecificCharacterSet", None)
        if charset is not None:
            ds.SpecificCharacterSet = charset
        for keyword, value in texts.items():
            raw(ds, keyword, value)
        write_undecoded(ds, implicit=False)
        ds.save_as(path)
    return volume


def encode_all(volume: Volume, label: str, folder: Path) -> list[Result]:
    """Return a result of each kind."""
    plan = made.plan([], prompts=[Prompt(label, label)])
    found = made.found(plan, made.masks(volume.grid.shape, 1))
    context = OutputContext(plan, volume, found, directory=folder)
    seg, structures = encode_seg(context), encode_rtstruct(context)
    assert seg is not None
    assert structures is not None
    receipt = encode_receipt(context)
    return [seg, encode_sr(context, [seg]), structures, *encode_secondary(context), receipt]


def bytes_of(ds: Dataset, keyword: str) -> bytes:
    element = ds.get_item(tag_for_keyword(keyword))
    assert isinstance(element, RawDataElement)
    return bytes(element.value or b"")


JAPANESE = b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B "
CASES = {
    "Latin-1 in UTF-8": ("ISO_IR 192", b"M\xfcller^J\xf6rg "),
    "Latin-1": ("ISO_IR 100", b"M\xfcller^J\xf6rg "),
    "UTF-8 in Latin-1": ("ISO_IR 100", "Müller^Jörg".encode() + b" "),
    "Cyrillic, no set": (None, "Иванов^Иван".encode("iso8859_5") + b" "),
    "UTF-8, no set": (None, "Müller^Jörg".encode() + b" "),
    "Cyrillic": ("ISO_IR 144", "Иванов^Иван ".encode("iso8859_5")),
    "an unknown set": ("ISO_IR 999", b"M\xfcller^J\xf6rg "),
    "code extensions": (["", "ISO 2022 IR 87"], JAPANESE),
    "GB18030": ("GB18030", "Wang^XiaoDong=王^小东 ".encode("gb18030")),
    "ASCII": ("ISO_IR 100", b"Doe^Jane"),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("label", ["ankle", "Knöchel", "печень"])
@pytest.mark.parametrize("case", CASES)
def test_bytes_are_those_of_the_source(tmp_path: Path, case: str, label: str) -> None:
    charset, name = CASES[case]
    texts = {"PatientName": name, "StudyDescription": name, "PatientID": b"ID 1", "InstitutionName": name}
    results = encode_all(volume_of(tmp_path / "s", charset, texts), label, tmp_path / "out")
    for result in results:
        ds = pydicom.dcmread(result.path, stop_before_pixels=True)
        assert [bytes_of(ds, keyword).rstrip() for keyword in ("PatientName", "StudyDescription")] == [
            name.rstrip()
        ] * 2
        written = ds.get("SpecificCharacterSet")
        fits = (charset == "ISO_IR 100" and label == "Knöchel") or (charset == "ISO_IR 144" and label == "печень")
        fits = fits or charset in ("ISO_IR 192", "GB18030") or (charset == ["", "ISO 2022 IR 87"] and label == "печень")
        if case == "ASCII" and label == "печень":
            assert written in ("ISO_IR 192", charset)  # pages have no text of ours but the rule's
        else:
            assert written == charset
        assert "\N{REPLACEMENT CHARACTER}".encode() not in result.path.read_bytes()
        warned = ASCII_WORDS in result.warnings
        assert warned == (case != "ASCII" and not fits and not label.isascii())
    segment = pydicom.dcmread(results[0].path).SegmentSequence[0]
    assert segment.SegmentLabel == ({"Knöchel": "Knochel", "печень": "pechen'"}[label] if warned else label)
    contributor = pydicom.dcmread(results[1].path).ContributingEquipmentSequence[1]
    assert bytes_of(contributor, "InstitutionName").rstrip() == name.rstrip()


@pytest.mark.parametrize(
    ("zone", "written"),
    [("+2400", None), ("-1230", None), ("+0160", None), ("+1400", "+1400"), ("-1200", "-1200"), ("+0530", "+0530")],
)
def test_a_time_zone_out_of_range_is_as_if_absent(tmp_path: Path, zone: str, written: str | None) -> None:
    volume = made.volume(tmp_path / "s", TimezoneOffsetFromUTC=zone)
    for result in encode_all(volume, "liver", tmp_path / "out"):
        found = pydicom.dcmread(result.path, stop_before_pixels=True).TimezoneOffsetFromUTC
        assert found == written if written else found != zone


VETERINARY = {
    "PatientSpeciesDescription": "Canine",
    "PatientSexNeutered": "ALTERED",
    "PatientBreedDescription": "Beagle",
    "ResponsiblePerson": "Owner^Jane",
    "ResponsiblePersonRole": "OWNER",
    "ResponsibleOrganization": "Clinic",
}
TRIAL = {
    "ClinicalTrialSponsorName": "SP",
    "ClinicalTrialProtocolID": "PR",
    "ClinicalTrialProtocolName": "",
    "ClinicalTrialSiteID": "",
    "ClinicalTrialSiteName": "",
    "ClinicalTrialSubjectReadingID": "R7",
    "ClinicalTrialTimePointID": "TP1",
}


@pytest.mark.parametrize("attributes", [VETERINARY, TRIAL], ids=["veterinary", "trial"])
def test_all_kinds_have_the_attributes_of_animals_and_trials(tmp_path: Path, attributes: dict[str, str]) -> None:
    volume = made.volume(tmp_path / "s", **attributes)
    for result in encode_all(volume, "liver", tmp_path / "out"):
        ds = pydicom.dcmread(result.path, stop_before_pixels=True)
        assert {keyword: str(ds.get(keyword, "absent")) for keyword in attributes} == attributes
        verified = subprocess.run(["dciodvfy", str(result.path)], capture_output=True, text=True, errors="replace")
        errors = [line for line in (verified.stdout + verified.stderr).splitlines() if line.startswith("Error")]
        assert not errors, (result.kind, errors)


def test_text_in_items_is_that_of_the_source(tmp_path: Path) -> None:
    volume = volume_of(tmp_path / "s", "ISO_IR 192", {"PatientName": b"M\xfcller^J\xf6rg "})
    for path in sorted((tmp_path / "s").glob("*.dcm")):
        ds = pydicom.dcmread(path)
        item = Dataset()
        raw(item, "PatientID", b"M\xfc12")
        item.TypeOfPatientID = "TEXT"
        write_undecoded(item, implicit=False)
        ds.OtherPatientIDsSequence = [item]
        write_undecoded(ds, implicit=False)
        ds.save_as(path)
    for result in encode_all(volume, "Knöchel", tmp_path / "out"):
        ds = pydicom.dcmread(result.path, stop_before_pixels=True)
        (item,) = ds.OtherPatientIDsSequence
        assert (bytes_of(item, "PatientID"), item.TypeOfPatientID) == (b"M\xfc12", "TEXT")

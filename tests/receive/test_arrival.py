"""A dataset is whole or refused; what it says of itself is read without decoding pixels."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import RLELossless

from tests.receive.receiving import make_slice
from tests.receive.sending import deflate, encode
from voxtell_dicom.errors import Refusal
from voxtell_dicom.receive.arrival import read_arrival

IMPLICIT, EXPLICIT, BIG, DEFLATED = (f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".2", ".1.99"))


def rich_slice() -> Dataset:
    """With nested sequences of both forms, private elements and padding behind the pixels."""
    ds = make_slice("1.2.3", 1, ImagesInAcquisition=7, PatientID="P\u00e4 1", SpecificCharacterSet="ISO_IR 100")
    inner, outer = Dataset(), Dataset()
    inner.CodeValue = "A"
    outer.PurposeOfReferenceCodeSequence = Sequence([inner])
    outer.PurposeOfReferenceCodeSequence.is_undefined_length = True
    ds.SourceImageSequence = Sequence([outer, outer])
    ds["SourceImageSequence"].is_undefined_length = True
    outer.is_undefined_length_sequence_item = True
    ds.ReferencedImageSequence = Sequence([outer])
    ds.private_block(0x0009, "ACME", create=True).add_new(1, "OB", b"\1\2\3\4")
    ds.DataSetTrailingPadding = bytes(16)
    return ds


def forms() -> Iterator[tuple[str, bytes]]:
    ds = rich_slice()
    yield IMPLICIT, encode(ds, IMPLICIT)
    yield EXPLICIT, encode(ds, EXPLICIT)
    yield BIG, encode(ds, BIG)
    yield DEFLATED, deflate(encode(ds, EXPLICIT))
    ds.compress(RLELossless, generate_instance_uid=False)
    yield RLELossless, encode(ds)


@pytest.mark.parametrize(("syntax", "data"), forms(), ids=["implicit", "explicit", "big endian", "deflated", "RLE"])
def test_whole_is_read_and_every_cut_is_refused(syntax: str, data: bytes) -> None:
    arrival = read_arrival(data, syntax)
    assert (arrival.sop_instance_uid, arrival.series_uid, arrival.study_uid) == ("1.2.3.1", "1.2.3", "1.2.3.4")
    assert (arrival.patient_id, arrival.images_in_acquisition, arrival.frames, arrival.own) == ("Pä 1", 7, 1, False)
    assert read_arrival(data + bytes(2), syntax).sop_instance_uid == "1.2.3.1"
    padding = 0 if syntax == DEFLATED else 28 + 2  # cut behind the pixels, where nothing of the image is missing
    last = len(data) - padding
    rows = data.find(b"\0\x28\0\x10" if syntax == BIG else b"\x28\0\x10\0")
    passed, codes = [], set()
    for end in [*range(min(last, 1500)), *range(last - 200, last)]:
        try:
            read_arrival(data[:end], syntax)
            passed.append(end)
        except Refusal as refusal:
            codes.add(refusal.code)
    # Only a cut between two elements before Rows leaves a whole dataset, one without an image.
    assert all(end <= rows + 1 for end in passed), (passed, rows)
    assert len(passed) < 20
    assert codes == {"unreadable", "no-identity"} if syntax != DEFLATED else {"unreadable"}


def test_garbage_is_refused() -> None:
    data = encode(make_slice("1.2.3", 1))
    for broken in (b"", b"\0", b"\xff" * 1000, data[::-1], b"GET / HTTP/1.1\r\n" * 20):
        with pytest.raises(Refusal):
            read_arrival(broken, EXPLICIT)


def test_a_broken_character_set_does_not_matter() -> None:
    ds = make_slice("1.2.3", 1, PatientID="P1")
    data = encode(ds).replace(b"P1", b"P\xe4")
    for charset in (b"\xff\xfe", b"ISO_IR 999", b"ISO_IR 192", b""):
        head = b"\x08\0\x05\0CS" + len(charset).to_bytes(2, "little") + charset
        assert read_arrival(head + data, EXPLICIT).patient_id.startswith("P")


@pytest.mark.parametrize("keyword", ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize("value", ["", "../../etc/passwd", "1." * 33 + "1"])
def test_what_is_no_uid_is_refused_by_name(keyword: str, value: str) -> None:
    ds = make_slice("1.2.3", 1)
    ds.add_new(keyword, "LT", value)  # a VR that pydicom writes as it is
    with pytest.raises(Refusal, match="is empty or absent" if not value else "is no UID") as refusal:
        read_arrival(encode(ds, IMPLICIT), IMPLICIT)
    assert refusal.value.code == "no-identity"


def test_own_equipment_is_recognised() -> None:
    assert read_arrival(encode(make_slice("1.2.3", 1, Manufacturer="voxtell-dicom")), EXPLICIT).own
    equipment = Dataset()
    equipment.Manufacturer = "voxtell-dicom"
    for undefined in (False, True):
        ds = make_slice("1.2.3", 1, ContributingEquipmentSequence=Sequence([equipment]))
        ds["ContributingEquipmentSequence"].is_undefined_length = undefined
        assert read_arrival(encode(ds), EXPLICIT).own
        assert read_arrival(encode(ds, IMPLICIT), IMPLICIT).own

"""Test the archive: storing, re-sent and refused instances, and restarts."""

from __future__ import annotations

import copy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless

from tests.receive.receiving import make_series, make_slice, open_archive
from tests.receive.sending import association, deflate, encode, send
from voxtell_dicom.archive.archive import Archive
from voxtell_dicom.errors import ConfigError, Refusal, SpoolUnavailable
from voxtell_dicom.receive.arrival import Sender, read_arrival

SENDER = Sender("a1", "CT1", "VOXTELL", "127.0.0.1:1", 1000.0)


@pytest.fixture
def archive(tmp_path: Path):
    one = open_archive(tmp_path / "spool")
    yield one
    one.close()


def hand_over(archive: Archive, series_uid: str) -> str:
    """Hand the newest version on. Returns it."""
    series = archive.series(series_uid)
    assert archive.hand_over(series, lambda _connection, _series: None)
    return series.version


def store(archive: Archive, ds: Dataset, sender: Sender = SENDER) -> str:
    return archive.store(read_arrival(encode(ds), str(ds.file_meta.TransferSyntaxUID)), sender)


def changed(ds: Dataset, **attributes: Any) -> Dataset:
    other = copy.deepcopy(ds)
    for keyword, value in attributes.items():
        setattr(other, keyword, value)
    return other


def test_a_header_correction_keeps_the_newest_headers_and_the_version(archive):
    ds = make_slice("1.2.3", 1)
    assert store(archive, ds) == "new"
    before = archive.series("1.2.3")
    assert store(archive, changed(ds, PatientName="Doe^Joan", AccessionNumber="A2")) == "headers"
    after = archive.series("1.2.3")
    assert (after.version, after.instances[0].path) == (before.version, before.instances[0].path)
    assert after.instances[0].digest != before.instances[0].digest
    assert pydicom.dcmread(after.instances[0].path).AccessionNumber == "A2"
    compressed = changed(ds, AccessionNumber="A3")
    compressed.compress(JPEG2000Lossless, generate_instance_uid=False)
    assert store(archive, compressed) == "headers"
    assert store(archive, compressed) == "same"
    kept = pydicom.dcmread(after.instances[0].path)
    assert kept.AccessionNumber == "A3"
    assert (kept.pixel_array == ds.pixel_array).all()


@pytest.mark.parametrize(
    ("attributes", "code", "words"),
    [
        ({"PixelData": bytes(2048)}, "instance-conflict", "pixels differ"),
        ({"ImagePositionPatient": [0, 0, 9]}, "instance-conflict", "ImagePositionPatient differs"),
        ({"RescaleIntercept": 0}, "instance-conflict", "RescaleIntercept differs"),
        ({"FrameOfReferenceUID": "1.9"}, "instance-conflict", "FrameOfReferenceUID differs"),
        ({"SeriesInstanceUID": "1.2.99"}, "instance-conflict", "in another series"),
        ({"PatientID": "P2"}, "series-conflict", "another Patient ID"),
        ({"StudyInstanceUID": "1.9"}, "series-conflict", "another Study Instance UID"),
        ({"PatientID": "P2", "SOPInstanceUID": "1.2.3.2"}, "series-conflict", "another Patient ID"),
    ],
)
def test_other_content_under_a_known_uid_is_refused_by_name(archive, attributes, code, words):
    ds = make_slice("1.2.3", 1)
    store(archive, ds)
    (instance,) = archive.series("1.2.3").instances
    before = instance.path.read_bytes()
    for compress in (False, True):
        other = changed(ds, **attributes)
        if compress:
            other.compress(JPEG2000Lossless, generate_instance_uid=False)
        with pytest.raises(Refusal, match=words) as refusal:
            store(archive, other)
        assert refusal.value.code == code
        assert refusal.value.uid in str(refusal.value)
        assert "P2" not in str(refusal.value)
    assert instance.path.read_bytes() == before
    assert len(list(archive.root.rglob("*.dcm"))) == 1


def test_bits_above_bits_stored_are_no_pixels(archive):
    """Overlays in the unused bits (PS3.5 § 8.1.2) get lost in compression: still the same image."""
    ds = make_slice("1.2.3", 1)
    values = ds.pixel_array.copy()
    compressed = changed(ds)
    compressed.compress(JPEG2000Lossless, generate_instance_uid=False)
    ds.PixelData = (values | 0x8000).tobytes()
    store(archive, ds)
    assert store(archive, compressed) == "same"


@pytest.mark.parametrize("ending", ["", ".2", ".1.99"])
def test_another_native_transfer_syntax_is_the_same(archive, ending):
    ds = make_slice("1.2.3", 1, OtherPatientIDs=["A", "B"], WindowCenter=[40, 60])
    ds.private_block(0x0009, "ACME", create=True).add_new(1, "US", 7)
    store(archive, ds)
    data = encode(ds, f"1.2.840.10008.1.2{'.1' if ending == '.1.99' else ending}")
    if ending == ".1.99":
        data = deflate(data)
    assert archive.store(read_arrival(data, f"1.2.840.10008.1.2{ending}"), SENDER) == "same"
    (instance,) = archive.series("1.2.3").instances
    assert (pydicom.dcmread(instance.path).pixel_array == ds.pixel_array).all()


def test_pixels_that_cannot_be_decoded_are_not_taken_for_the_same(archive):
    ds = make_slice("1.2.3", 1)
    store(archive, ds)
    ds.compress(JPEG2000Lossless, generate_instance_uid=False)
    ds.PixelData = pydicom.encaps.encapsulate([b"no image at all "])
    with pytest.raises(Refusal, match="cannot be decoded to compare") as refusal:
        store(archive, ds)
    assert refusal.value.code == "instance-conflict"


def test_a_restart_finds_everything_again(tmp_path):
    archive = open_archive(tmp_path / "spool")
    for ds in make_series(4, "1.2.3", ImagesInAcquisition=9):
        store(archive, ds)
    store(archive, make_slice("1.2.4", 1), Sender("a2", "MR", "VOXTELL"))
    archive.end_association("a1", released=True)
    hand_over(archive, "1.2.3")
    archive.remember_own(["2.25.1", "2.25.2"])
    archive.remember_own(["2.25.1", "2.25.3"])
    store(archive, make_slice("2.25.3", 1), Sender("a3", "MR", "VOXTELL"))
    before, series = archive.summary("1.2.3"), archive.series("1.2.3")
    archive.close()
    (tmp_path / "spool" / "incoming" / "left.part").write_bytes(b"half")
    again = open_archive(tmp_path / "spool")
    assert again.summary("1.2.3") == before
    assert again.series("1.2.3") == series
    assert again.summary("1.2.3").handed_on
    assert again.arrival_state("1.2.4")[1].lost  # its association was open when we went down
    assert not list((tmp_path / "spool" / "incoming").iterdir())
    assert again.series("2.25.3") is None
    again.close()


def test_a_damaged_disk_costs_no_more_than_what_is_damaged(tmp_path):
    archive = open_archive(tmp_path / "spool")
    series = make_series(3, "1.2.3")
    for ds in series:
        store(archive, ds)
    first, second, _ = (instance.path for instance in archive.series("1.2.3").instances)
    archive.close()
    first.write_bytes(bytes(4096))
    second.unlink()
    for database in tmp_path.glob("spool.sqlite*"):
        database.unlink()
    again = open_archive(tmp_path / "spool")
    assert [i.sop_instance_uid for i in again.series("1.2.3").instances] == ["1.2.3.3"]
    assert [store(again, ds) for ds in series] == ["new", "new", "same"]
    again.close()


def test_what_the_store_has_lost_is_handed_on_again(archive):
    series = make_series(2, "1.2.3")
    assert [store(archive, ds) for ds in series] == ["new", "new"]
    archive.series("1.2.3").instances[0].path.unlink()
    assert [store(archive, ds) for ds in series] == ["new", "same"]
    assert all(instance.path.exists() for instance in archive.series("1.2.3").instances)


def test_what_never_starts_work_is_kept_but_is_no_version(tmp_path):
    also = "1.2.840.10008.5.1.4.1.1.7"
    archive = open_archive(tmp_path / "plain")
    classes = ["66.4", "66.7", "88.33", "88.59", "481.3", "11.1", "7", "7.2"]
    classes += ["9.1.1", "66", "66.1", "104.1", "481.1", "481.2", "481.5", "4.2", "67", "30"]  # 0.1 took these for work
    for number, ending in enumerate(classes):
        ds = make_slice(f"1.2.{number}", 1, SOPClassUID=f"1.2.840.10008.5.1.4.1.1.{ending}")
        assert store(archive, ds) == "new"
        assert archive.series(f"1.2.{number}") is None
    ct, ours = make_slice("1.3", 1), make_slice("1.3", 2, Manufacturer="voxtell-dicom")
    store(archive, ct)
    version = archive.current_version("1.3")
    store(archive, ours)
    store(archive, make_slice("1.3", 3, SOPClassUID=also))
    archive.remember_own(["1.3.4", "1.4"])
    store(archive, make_slice("1.3", 4))
    assert archive.current_version("1.3") == version != ""
    store(archive, make_slice("1.4", 1))
    assert archive.series("1.4") is None
    assert (archive.summary("1.3").starts, archive.summary("1.3").others) == (1, 3)
    archive.close()
    asked = open_archive(tmp_path / "plain", also={also})
    assert [i.sop_instance_uid for i in asked.series("1.3").instances] == ["1.3.1", "1.3.3"]
    asked.close()


def test_drop(archive):
    for ds in make_series(3, "1.2.3"):
        store(archive, ds)
    version = hand_over(archive, "1.2.3")
    store(archive, make_slice("1.2.3", 4))
    assert not archive.drop("1.2.3", version)  # news since: kept
    assert archive.drop("1.2.3", archive.current_version("1.2.3"))
    assert not archive.drop("1.2.3")
    assert archive.summary("1.2.3") is None
    assert not list(archive.root.rglob("*.dcm"))
    assert archive.is_handed_on("1.2.3", version)
    assert store(archive, make_slice("1.2.3", 1)) == "new"


def test_one_process_at_a_time(archive):
    unfinished = archive.root / "incoming" / "being written"
    unfinished.touch()
    with pytest.raises(ConfigError, match="in use by another process"):
        open_archive(archive.root)
    assert unfinished.exists()
    archive.remember_own(["1"])


def test_a_full_disk_is_a700_and_recovers(receiver, small_disk):
    node = receiver(small_disk / "spool")
    series = make_series(8, Rows=256, Columns=256, PixelData=bytes(256 * 256 * 2))
    with association(node.port, series) as link:
        answers = [send(link, ds) for ds in series]
        codes = [answer.Status for answer in answers]
        stored = codes.index(0xA700)
        assert 0 < stored < 8
        assert codes == [0] * stored + [0xA700] * (8 - stored)
        assert "No space left" in answers[-1].ErrorComment
        assert len(list(small_disk.rglob("*.dcm"))) == stored
        assert not list((small_disk / "spool" / "incoming").iterdir())
        enlarge(small_disk)
        assert [send(link, ds).Status for ds in series] == [0] * 8
    (done,) = node.wait(1)
    assert (len(done.instances), done.incomplete) == (8, "")
    for instance in done.instances:
        assert pydicom.dcmread(instance.path).pixel_array.shape == (256, 256)


def test_a_series_cut_off_by_a_full_disk_is_not_complete(receiver, small_disk):
    node = receiver(small_disk / "spool")
    series = make_series(8, Rows=256, Columns=256, PixelData=bytes(256 * 256 * 2))
    with association(node.port, series) as link:
        stored = [send(link, ds).Status for ds in series].count(0)
    enlarge(small_disk)
    node.nothing_more(0.8)
    (done,) = node.wait(1)
    assert len(done.instances) == stored
    assert f"{8 - stored} instances were sent that could not be stored" in done.incomplete


def enlarge(disk: Path) -> None:

    subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)


def test_too_little_free_space_is_told_before_anything_is_written(tmp_path):
    usage = shutil.disk_usage(tmp_path)
    archive = open_archive(tmp_path, min_free_percent=min(99.9, 100 * usage.free / usage.total + 0.5))
    with pytest.raises(SpoolUnavailable, match=r"of the disk is free, receive\.min_free_percent asks for"):
        store(archive, make_slice("1.2.3", 1))
    assert not list(tmp_path.rglob("*.dcm"))
    archive.close()


def test_a_read_only_disk_is_a700(small_disk):

    archive = open_archive(small_disk / "spool")
    store(archive, make_slice("1.2.3", 1))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(SpoolUnavailable, match="Read-only"):
        store(archive, make_slice("1.2.3", 2))
    assert store(archive, make_slice("1.2.3", 1)) == "same"
    with pytest.raises(OSError, match="Read-only"):
        hand_over(archive, "1.2.3")
    assert not archive.summary("1.2.3").handed_on
    archive.close()
    with pytest.raises(SpoolUnavailable, match="cannot be opened"):
        open_archive(small_disk / "other")
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)

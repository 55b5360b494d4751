"""A folder as a peer."""

from __future__ import annotations

from pathlib import Path

from voxtell_dicom.config import Peer
from voxtell_dicom.deliver import deliver
from voxtell_dicom.model import Outcome, Result


def send(result: Result, folder: Path) -> Outcome:
    return deliver(result, Peer(folder=folder), calling_ae="VOXTELL", name="out")


def test_the_file_appears_whole_and_once(spooled: Result, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    first = send(spooled, folder)
    copy = folder / f"{spooled.sop_instance_uid}.dcm"
    written = copy.stat().st_mtime_ns
    second = send(spooled, folder)
    assert (first.state, second.state) == ("delivered", "delivered")
    assert list(folder.iterdir()) == [copy]
    assert copy.read_bytes() == spooled.path.read_bytes()
    assert copy.stat().st_mtime_ns == written


def test_other_bytes_under_the_same_uid_are_not_replaced(spooled: Result, tmp_path: Path) -> None:
    copy = tmp_path / f"{spooled.sop_instance_uid}.dcm"
    copy.write_bytes(b"something else")
    outcome = send(spooled, tmp_path)
    assert (outcome.state, outcome.status) == ("failed", "duplicate")
    assert copy.read_bytes() == b"something else"


def test_a_folder_that_cannot_be_written_is_named(spooled: Result, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    outcome = send(spooled, tmp_path / "file" / "folder")
    assert (outcome.state, outcome.status) == ("failed", "ENOTDIR")
    assert str(tmp_path / "file") in outcome.message


def test_a_full_disk_is_tried_again_and_leaves_nothing_half_written(large: Result, small_disk: Path) -> None:
    outcome = send(large, small_disk)
    assert (outcome.state, outcome.status) == ("retry", "ENOSPC")
    assert list(small_disk.iterdir()) == []

"""`inspect` shows what the series room makes of a folder, on screen and for programs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import MediaStorageDirectoryStorage
from typer.testing import CliRunner

from tests.json_page import assert_documented
from tests.series import cases, slices
from voxtell_dicom.cli import app
from voxtell_dicom.series.headers import assemble

RULES = """
version: 1
model: {engine: threshold}
rules:
  - {name: soft, when: {Modality: CT, ConvolutionKernel: B30f}, prompts: ["> 300"]}
"""


def inspect(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["inspect", *arguments])
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.output


def test_json(tmp_path: Path) -> None:
    by_name = {case.name: case for case in cases.CASES}
    by_name["kernels"].write(tmp_path / "data")
    (tmp_path / "data" / "README.txt").write_text("no DICOM")
    (tmp_path / "data" / "cut.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\x02\0\0")
    (tmp_path / "node.yaml").write_text(RULES)
    output = inspect(str(tmp_path / "data"), "--json", "-c", str(tmp_path / "node.yaml"))
    soft, sharp, cut = assert_documented("voxtell-dicom inspect", output)
    assert (soft["volume"], soft["rules"]) == ("kernel B30f", ["soft"])
    assert (sharp["volume"], sharp["rules"]) == ("kernel B70f", [])
    assert soft["shape"] == [6, 24, 20]
    assert soft["spacing_mm"] == [2.0, 1.0, 1.0]
    assert (soft["plane"], soft["status"], soft["tilt_degrees"]) == ("axial", "handled", 0.0)
    assert (cut["status"], cut["code"]) == ("refused", "unreadable")
    assert "cut.dcm" in cut["reason"]


def test_what_one_rule_allows_is_shown_and_only_its_rules_match(tmp_path: Path) -> None:
    datasets = slices.stack(slices.noise((9, 24, 20)))
    del datasets[4]
    slices.save(datasets, tmp_path / "data")
    lax = '  - {name: lax, max_gap: 2, when: {Modality: CT}, prompts: ["> 300"]}\n'
    strict = '  - {name: strict, when: {Modality: CT}, prompts: ["> 300"]}\n'
    (tmp_path / "node.yaml").write_text(RULES + lax + strict)
    (row,) = json.loads(inspect(str(tmp_path / "data"), "--json"))
    assert row["code"] == "missing-slice"
    (row,) = json.loads(inspect(str(tmp_path / "data"), "--json", "--max-gap", "2"))
    assert row["status"] == "handled"
    (row,) = json.loads(inspect(str(tmp_path / "data"), "--json", "-c", str(tmp_path / "node.yaml")))
    assert (row["status"], row["rules"]) == ("handled", ["lax"])


def test_table(tmp_path: Path) -> None:
    next(case for case in cases.CASES if case.name == "gantry-tilt").write(tmp_path)
    output = inspect(str(tmp_path))
    assert "18.4°" in output
    assert "1 volume(s) handled" in output


def test_instance_without_uid_is_refused_for_that(tmp_path: Path) -> None:
    cases.CASES[0].write(tmp_path)
    for file in tmp_path.iterdir():
        ds = pydicom.dcmread(file)
        del ds.SOPInstanceUID
        ds.save_as(file)
    (row,) = json.loads(inspect(str(tmp_path), "--json"))
    assert (row["status"], row["code"]) == ("refused", "empty-uid")
    assert "SOP Instance UID (0008,0018)" in row["reason"]


def test_directory_of_a_medium_is_passed_over_whatever_its_name(tmp_path: Path) -> None:
    from pydicom.fileset import FileSet

    cases.CASES[0].write(tmp_path / "series")
    medium = FileSet()
    for file in (tmp_path / "series").iterdir():
        medium.add(file)
    medium.write(tmp_path / "cd")
    (tmp_path / "cd" / "DICOMDIR").rename(tmp_path / "cd" / "DIRFILE")
    (row,) = json.loads(inspect(str(tmp_path / "cd"), "--json"))
    assert row["status"] == "handled"


@pytest.mark.parametrize("odd", ["class", "record", "uids", "nothing"])
def test_an_odd_directory_of_a_medium_is_named_as_what_it_is(odd: str, tmp_path: Path) -> None:
    from pydicom.fileset import FileSet

    cases.CASES[0].write(tmp_path / "series")
    medium = FileSet()
    for file in (tmp_path / "series").iterdir():
        medium.add(file)
    medium.write(tmp_path / "cd")
    directory = tmp_path / "cd" / "DICOMDIR"
    ds = pydicom.dcmread(directory)
    if odd == "class":
        ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.99"
    elif odd == "uids":
        ds.SOPClassUID, ds.SOPInstanceUID = MediaStorageDirectoryStorage, "2.25.1"
    ds.save_as(directory)
    if odd == "record":
        data = directory.read_bytes()
        directory.write_bytes(data.replace(b"\x04\x00\x30\x14CS", b"\x04\x00\x30\x14??"))
    directory.rename(tmp_path / "cd" / "DIRFILE")
    (row,) = json.loads(inspect(str(tmp_path / "cd"), "--json"))
    assert row["status"] == "handled"
    said = " ".join(inspect(str(tmp_path / "cd" / "DIRFILE"), code=2).split())
    assert "DICOMDIR (Media Storage Directory" in said
    assert "give the folder that holds the images" in said
    (aside,) = assemble(slices.series_in(tmp_path / "cd")).set_aside
    assert (aside.code, aside.refused) == ("media-directory", False)


def test_the_runs_of_a_stack_are_said_to_be_joined(tmp_path: Path) -> None:
    next(case for case in cases.CASES if case.name == "two-spacings").write(tmp_path)
    first, second = assert_documented("voxtell-dicom inspect", inspect(str(tmp_path), "--json"))
    assert first["joined_with"] == [second["volume"]] == ["run 2 of 2, 5.00 mm apart"]
    assert second["joined_with"] == [first["volume"]]
    assert "joined in one result with run 2 of 2, 5.00 mm apart" in inspect(str(tmp_path))


def test_files_that_only_begin_like_dicom_are_named(tmp_path: Path) -> None:
    slices.save(slices.stack(slices.noise((3, 24, 20))), tmp_path)
    whole = (tmp_path / "00000.dcm").read_bytes()
    (tmp_path / "bare").write_bytes(whole[132:])  # no preamble, no prefix
    (tmp_path / "dataset").write_bytes(whole[whole.index(b"\x08\x00\x08\x00CS") :])  # as ACR-NEMA files were
    (tmp_path / "cut.dcm").write_bytes(whole[:300])
    (tmp_path / "empty.dcm").write_bytes(b"")
    (tmp_path / "no.mod").write_bytes(bytes.fromhex("080001007c0400000d000000") + bytes(200))  # numbers of some program
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04" + bytes(200))
    rows = json.loads(inspect(str(tmp_path), "--json"))
    refused = {row["reason"].partition(":")[0]: row["reason"] for row in rows if row["status"] == "refused"}
    assert set(refused) == {"bare", "dataset", "cut.dcm"}
    assert "without the preamble" in refused["bare"]
    assert "without the preamble" in refused["dataset"]
    assert {row["code"] for row in rows if row["status"] == "refused"} == {"unreadable"}


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    slices.save(slices.stack(slices.noise((3, 24, 20))), tmp_path / "elsewhere" / "séries 1")
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "again").symlink_to(tmp_path / "elsewhere")
    (folder / "loop").symlink_to(".")
    (folder / "dangling").symlink_to("/nonexistent")
    os.mkfifo(folder / "pipe")
    (row,) = json.loads(inspect(str(folder), "--json"))
    assert (row["status"], row["instances"]) == ("handled", 3)
    assert "no DICOM file" in inspect(str(folder / "pipe"), code=2)


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slices.save(slices.stack(slices.noise((3, 24, 20))), tmp_path)
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def closed(folder: str) -> object:
        if str(folder).endswith("closed"):
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", closed)
    volume, refused = json.loads(inspect(str(tmp_path), "--json"))
    assert volume["status"] == "handled"
    assert refused["code"] == "unreadable"
    assert refused["reason"] == f"{tmp_path / 'closed'}: cannot be listed (Permission denied)"


def test_folder_without_dicom(tmp_path: Path) -> None:
    assert "no DICOM file" in inspect(str(tmp_path), code=2)

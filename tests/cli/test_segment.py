"""`segment`: a folder in, SEG out, read back by pydicom alone and held against the source's own pixels."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest

from tests.json_page import assert_documented
from tests.series.cases import CASES
from voxtell_dicom.config import Rule
from voxtell_dicom.rules import match
from voxtell_dicom.verify.readback import seg_frames

KINDS = ("seg", "labelmap", "fractional", "sr", "rtstruct", "secondary", "overlay")


def segment(folder: Path, out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "voxtell_dicom", "segment", str(folder), "-o", str(out), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def done(small_ct: Path, tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    out = tmp_path_factory.mktemp("out")
    return segment(small_ct, out, "--engine", "threshold", "-p", "> 100", "-p", "> 5000", "--json")


def test_one_seg_and_what_was_not_found(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    report = assert_documented("voxtell-dicom segment", done.stdout)
    assert report["not_for_patients"]
    assert set(report["seconds"]) == {"assemble", "decode", "segment", "encode"}
    (result,) = report["results"]
    above, nothing = result["segments"]
    assert above["voxels"] > 0
    assert above["volume_ml"] == pytest.approx(above["voxels"] * 8.0 * 4.5 * 4.5 / 1000, abs=0.001)
    assert (nothing["voxels"], nothing["volume_ml"]) == (0, 0)
    assert Path(result["file"]).is_file()


def test_our_own_result_starts_no_work(done: subprocess.CompletedProcess[str]) -> None:
    (result,) = assert_documented("voxtell-dicom segment", done.stdout)["results"]
    when = {"Modality": "SEG", "SOPClassUID": "SegmentationStorage"}
    (found,) = match([Rule(name="r", when=when, prompts=["x"])], [pydicom.dcmread(result["file"])], {})
    assert [each.keyword for each in found.conditions if not each.met] == ["source"]


def test_every_frame_is_the_threshold_of_its_own_source(done: subprocess.CompletedProcess[str], small_ct: Path) -> None:
    (result,) = assert_documented("voxtell-dicom segment", done.stdout)["results"]
    seg = pydicom.dcmread(result["file"])
    assert "TEST - NOT FOR PATIENTS" in seg.SeriesDescription
    assert len(seg.SegmentSequence) == 1
    sources = {ds.SOPInstanceUID: ds for ds in map(pydicom.dcmread, small_ct.glob("*.dcm"))}
    frames = np.atleast_3d(seg.pixel_array) if seg.NumberOfFrames > 1 else seg.pixel_array[None]
    total = 0
    for frame, groups in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        uid = groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        source = sources.pop(uid)
        values = source.pixel_array * float(source.RescaleSlope) + float(source.RescaleIntercept)
        assert np.array_equal(frame.astype(bool), values > 100)
        total += int(frame.sum())
    assert total == result["segments"][0]["voxels"]
    for source in sources.values():  # what has no frame has nothing above
        assert not (source.pixel_array * float(source.RescaleSlope) + float(source.RescaleIntercept) > 100).any()


def test_all_empty_is_done_and_writes_nothing(small_ct: Path, tmp_path: Path) -> None:
    done = segment(small_ct, tmp_path, "--engine", "threshold", "-p", "> 5000")
    assert done.returncode == 0, done.stderr
    assert "nothing was found" in done.stdout
    assert list(tmp_path.rglob("*.dcm")) == []


def test_a_finding_is_only_warned_of(small_ct: Path, tmp_path: Path) -> None:
    done = segment(small_ct, tmp_path, "-p", "liver lesion", "-p", "spleen")
    assert done.returncode == 0, done.stderr
    assert "'liver lesion': a finding, not anatomy" in done.stderr
    assert "spleen" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--engine", "threshold", "-p", "liver"], "liver"),
        (["--engine", "threshold", "--model", ".", "-p", "> 1"], "not both"),
        (["--model", "/nowhere", "-p", "> 1"], "/nowhere does not exist"),
        (["--engine", "threshold", "-p", " "], "a prompt needs"),
        (["--engine", "threshold"], "--prompt"),
        (["--engine", "thresh", "-p", "> 1"], "thresh"),
        (["-p", "> 300", "--engine", "threshold", "--device", "gpu"], "--device: 'gpu' is not a device"),
    ],
)
def test_wrong_input_is_two(small_ct: Path, tmp_path: Path, arguments: list[str], words: str) -> None:
    done = segment(small_ct, tmp_path, *arguments)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout


def test_a_damaged_file_is_named_and_the_rest_is_segmented(small_ct: Path, tmp_path: Path) -> None:
    (tmp_path / "ct").mkdir()
    for path in small_ct.iterdir():
        (tmp_path / "ct" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "ct" / "cut.dcm").write_bytes(next(small_ct.iterdir()).read_bytes()[:300])
    done = segment(tmp_path / "ct", tmp_path / "out", "--engine", "threshold", "-p", "> 300", "--json")
    assert done.returncode == 1, done.stderr
    report = assert_documented("voxtell-dicom segment", done.stdout)
    assert len(report["results"]) == 1
    assert [item["code"] for item in report["not_processed"]] == ["unreadable"]
    assert "cut.dcm: begins like a DICOM file" in done.stderr


def test_a_folder_without_images_is_two(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = segment(tmp_path / "empty", tmp_path / "out", "--engine", "threshold", "-p", "> 1")
    assert done.returncode == 2
    assert "no DICOM file" in done.stderr


def test_a_result_says_what_speaks_against_it(small_ct: Path, tmp_path: Path) -> None:
    done = segment(small_ct, tmp_path / "out", "--engine", "threshold", "-p", "> -2000", "--json")
    (result,) = assert_documented("voxtell-dicom segment", done.stdout)["results"]
    (said,) = [warning for warning in result["warnings"] if warning.startswith("edge:")]
    assert "touches the first slice, last slice, upper edge, lower edge, left edge, right edge" in said
    assert "[!]" in pydicom.dcmread(result["file"]).SeriesDescription


def test_the_runs_of_a_stack_are_one_result(tmp_path: Path) -> None:
    case = next(case for case in CASES if case.name == "two-spacings")
    case.write(tmp_path / "ct")
    done = segment(tmp_path / "ct", tmp_path / "out", "--engine", "threshold", "-p", "> 1500", "--json")
    assert done.returncode == 0, done.stderr
    (result,) = assert_documented("voxtell-dicom segment", done.stdout)["results"]
    frames = [(frame.source_uid, np.count_nonzero(frame.mask)) for frame in seg_frames(Path(result["file"]))]
    assert len({uid for uid, _ in frames}) == 12
    assert sum(voxels for _, voxels in frames) == result["segments"][0]["voxels"]
    assert (result["volume"], result["warnings"][0].split(":")[0]) == ("", "runs")

    broken = max((pydicom.dcmread(path) for path in (tmp_path / "ct").iterdir()), key=lambda ds: ds.InstanceNumber)
    broken.PixelData = broken.PixelData[:100]
    broken.save_as(broken.filename)
    done = segment(tmp_path / "ct", tmp_path / "less", "--engine", "threshold", "-p", "> 1500", "--json")
    assert done.returncode == 1, done.stderr
    report = assert_documented("voxtell-dicom segment", done.stdout)
    (result,), (aside,) = report["results"], report["not_processed"]
    assert (aside["code"], result["volume"]) == ("pixels", "run 1 of 2, 2.00 mm apart")
    assert "incomplete: run 2 of 2, 5.00 mm apart is not in the result (pixels)" in result["warnings"]
    assert "[!]" in pydicom.dcmread(result["file"]).SeriesDescription


def test_every_output_in_the_form_that_is_asked_for(small_ct: Path, tmp_path: Path) -> None:
    every = [word for kind in KINDS for word in ("--output", kind)]
    more = ["--profile", "ohif", "--encoding", "occupancy", "--segments-per-object", "one", "--json"]
    done = segment(small_ct, tmp_path, "--engine", "threshold", "-p", "> 100", "-p", "> 300", *every, *more)
    assert done.returncode == 0, done.stderr
    (result,) = assert_documented("voxtell-dicom segment", done.stdout)["results"]
    kinds = [item["kind"] for item in result["files"]]
    slices = len(list(small_ct.iterdir()))
    assert kinds.count("overlay") == slices
    once = [kind for kind in kinds if kind != "overlay"] + ["overlay"]
    assert sorted(once) == sorted([*KINDS, "seg", "labelmap", "fractional"]), "segmentations twice: one a segment"
    assert result["file"] == result["files"][0]["file"]
    types = {item["kind"]: pydicom.dcmread(item["file"]).get("SegmentationType") for item in result["files"]}
    assert (types["seg"], types["labelmap"], types["fractional"]) == ("FRACTIONAL", "LABELMAP", "FRACTIONAL")
    binary = segment(small_ct, tmp_path / "b", "--engine", "threshold", "-p", "> 100", "--json")
    (one,) = assert_documented("voxtell-dicom segment", binary.stdout)["results"]
    own = pydicom.dcmread(one["file"])
    assert own.SegmentationType == "BINARY"
    soft = next(item["file"] for item in result["files"] if item["kind"] == "fractional")
    assert np.array_equal(pydicom.dcmread(soft).pixel_array, 255 * own.pixel_array)


def test_options_that_do_not_go_together(small_ct: Path, tmp_path: Path) -> None:
    done = segment(small_ct, tmp_path, "--engine", "threshold", "-p", "> 100", "--transfer-syntax", "rle")
    assert done.returncode == 2
    assert "one bit a pixel takes no RLE" in done.stderr

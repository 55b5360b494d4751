"""`verify` proves the line on any series; and it sees what is wrong with one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from typer.testing import CliRunner

from tests.json_page import assert_documented
from tests.series import cases, multiframe_cases, slices, strange_cases  # noqa: F401 - adds its cases
from voxtell_dicom.cli import app
from voxtell_dicom.encode.capture.scene import read_scene
from voxtell_dicom.engine.threshold import ThresholdEngine
from voxtell_dicom.errors import Refusal
from voxtell_dicom.model import Result
from voxtell_dicom.series.headers import assemble
from voxtell_dicom.verify import Verified, choose_threshold, verify_series
from voxtell_dicom.verify.readback import source_values

CORPUS = Path(os.environ.get("VOXTELL_DICOM_CORPUS") or "/nonexistent")
HANDLED = [case for case in cases.CASES if case.handled]


def verified(series: slices.Series, folder: Path) -> list[Verified]:
    return list(verify_series(series, ThresholdEngine(), folder))


@pytest.mark.parametrize("case", HANDLED, ids=lambda case: case.name)
def test_every_handled_case_is_exact(case: cases.Case, tmp_path: Path) -> None:
    found = verified(case.write(tmp_path / "series"), tmp_path)
    assert sum(each.outcome == "exact" for each in found) == len(case.handled), [each.data() for each in found]
    assert {each.outcome for each in found} <= {"exact", "set_aside", "refused"}
    assert sorted(each.row.code for each in found if each.outcome == "refused") == sorted(case.refused)
    for each in found:
        if each.outcome == "exact":
            assert each.frames_compared == each.row.shape[0]
            assert each.max_mm <= (1e-9 if each.row.modality == "NM" else 0.0)  # places of NM slices are computed


def _shift(ds: Dataset) -> None:
    ds.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence[0].ImagePositionPatient[2] += 0.01


def _swap(ds: Dataset) -> None:
    items = [groups.DerivationImageSequence[0].SourceImageSequence[0] for groups in ds.PerFrameFunctionalGroupsSequence]
    first, second = items[0].ReferencedSOPInstanceUID, items[1].ReferencedSOPInstanceUID
    items[0].ReferencedSOPInstanceUID, items[1].ReferencedSOPInstanceUID = second, first


def _one_voxel(ds: Dataset) -> None:
    ds.PixelData = bytes([ds.PixelData[0] ^ 1]) + ds.PixelData[1:]


def _lose(ds: Dataset) -> None:
    del ds.PerFrameFunctionalGroupsSequence[-1]
    ds.NumberOfFrames -= 1
    ds.PixelData = ds.PixelData[: ds.NumberOfFrames * ds.Rows * ds.Columns // 8]


@pytest.mark.parametrize("damage", [_shift, _swap, _one_voxel, _lose])
def test_sees_what_is_wrong(damage: Callable[[Dataset], None], tmp_path: Path) -> None:
    def via(seg: Result, folder: Path) -> Path:
        ds = pydicom.dcmread(seg.path)
        damage(ds)
        ds.save_as(folder / "damaged.dcm")
        return folder / "damaged.dcm"

    series = slices.save(slices.stack(slices.noise((6, 24, 20))), tmp_path / "series")
    (found,) = verify_series(series, ThresholdEngine(), tmp_path, via)
    assert found.outcome == "wrong"
    assert "2.25." in found.reason or "1.2.826" in found.reason


def test_the_runs_of_a_stack_are_compared_in_one_seg(tmp_path: Path) -> None:
    case = next(case for case in HANDLED if case.name == "two-spacings")
    first, second = verified(case.write(tmp_path / "series"), tmp_path)
    assert first.seg == second.seg
    assert first.threshold != second.threshold  # a segment each, on the frames of both
    assert first.row.joined_with == (second.row.volume,)
    seg = pydicom.dcmread(first.seg)
    assert len(seg.SegmentSequence) == 2
    sources = {
        str(groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID)
        for groups in seg.PerFrameFunctionalGroupsSequence
    }
    assert len(sources) == 12
    found = verified_with(case, _one_voxel, tmp_path / "damaged")
    assert [each.outcome for each in found] == ["wrong", "exact"]
    found = verified_with(case, _shift, tmp_path / "shifted")
    assert [each.outcome for each in found] == ["wrong", "exact"]


def verified_with(case: cases.Case, damage: Callable[[Dataset], None], folder: Path) -> list[Verified]:
    def via(seg: Result, folder: Path) -> Path:
        ds = pydicom.dcmread(seg.path)
        damage(ds)
        ds.save_as(folder / "damaged.dcm")
        return folder / "damaged.dcm"

    return list(verify_series(case.write(folder / "series"), ThresholdEngine(), folder, via))


def test_constant_series_proves_nothing(tmp_path: Path) -> None:
    series = slices.save(slices.stack(np.full((4, 24, 20), 7, np.uint16)), tmp_path / "series")
    (found,) = verified(series, tmp_path)
    assert (found.outcome, found.threshold) == ("unproven", None)


@pytest.mark.parametrize("share", [0.051, 0.2, 0.49])
def test_threshold_lies_between_two_values_that_occur(share: float) -> None:
    rng = np.random.default_rng(3)
    array = np.where(rng.random((20, 40, 50)) < share, 1, 0).astype(np.float32)
    assert choose_threshold(array, array.size) == 0.5
    assert choose_threshold(np.zeros_like(array), array.size) is None


def test_command(tmp_path: Path) -> None:
    next(case for case in HANDLED if case.name == "dose-report").write(tmp_path / "data")
    result = CliRunner().invoke(app, ["verify", str(tmp_path / "data"), "--json", "--keep", str(tmp_path / "kept")])
    assert result.exit_code == 0, result.output
    volume, aside = assert_documented("voxtell-dicom verify", result.stdout)
    assert (volume["outcome"], volume["frames_compared"], volume["status"]) == ("exact", 6, "handled")
    assert (aside["outcome"], aside["code"]) == ("set_aside", "dose-report")
    kept = {path.suffix for path in (tmp_path / "kept").iterdir()}
    assert kept == {".dcm", ".png", ".json"}
    (report,) = (tmp_path / "kept").glob("verify-*.json")
    content = json.loads(report.read_text())
    assert {"pydicom", "python-gdcm", "torch", "voxtell-dicom"} <= set(content["versions"])
    assert content["engine"].endswith("threshold")
    assert content["volumes"][0]["outcome"] == "exact"


def test_a_dated_report_is_always_written(tmp_path: Path) -> None:
    slices.save(slices.stack(slices.noise((6, 24, 20))), tmp_path / "data")
    assert CliRunner().invoke(app, ["verify", str(tmp_path / "data")]).exit_code == 0
    (report,) = Path().glob("verify-*.json")  # where it was run
    assert json.loads(report.read_text())["volumes"][0]["outcome"] == "exact"
    (tmp_path / "file").write_text("no folder")
    result = CliRunner().invoke(app, ["verify", str(tmp_path / "data"), "--report", str(tmp_path / "file")])
    assert result.exit_code == 0
    assert "no report" in result.output


def test_what_a_rule_may_allow(tmp_path: Path) -> None:
    datasets = slices.stack(slices.noise((9, 24, 20)), edit=_two_references)
    del datasets[4]
    slices.save(datasets, tmp_path / "data")
    arguments = ["verify", str(tmp_path / "data"), "--json"]
    options = ["--max-gap", "2", "--frames-of-reference", "accept"]
    for given, code in (([], "mixed-frames-of-reference"), (options[2:], "missing-slice")):
        (row,) = json.loads(CliRunner().invoke(app, [*arguments, *given]).stdout)
        assert (row["outcome"], row["code"]) == ("refused", code)
    (row,) = json.loads(CliRunner().invoke(app, [*arguments, *options]).stdout)
    assert (row["outcome"], row["frames_compared"]) == ("exact", 8)


def _two_references(ds: Dataset, index: int) -> None:
    ds.FrameOfReferenceUID = f"{slices.UID}.3.{index // 5}"


def test_pictures_show_the_volumes_own_frames(tmp_path: Path) -> None:
    """Magnitude and phase in one object: at each place lie two frames, one of them the volume's."""
    series = next(case for case in HANDLED if case.name == "enhanced-components").write(tmp_path / "data")
    volumes = assemble(series).volumes
    for volume, each in zip(volumes, verified(series, tmp_path), strict=True):
        assert each.seg is not None
        scene = read_scene(each.seg, tmp_path / "data")
        assert scene.values.shape == volume.grid.shape
        for shown, frame in zip(scene.values, volume.frames, strict=True):
            np.testing.assert_allclose(shown, source_values(frame.path, frame.number), rtol=1e-6)
    result = CliRunner().invoke(app, ["verify", str(tmp_path / "data"), "--keep", str(tmp_path / "kept")])
    assert "no picture" not in result.output
    assert len(list((tmp_path / "kept").glob("*.png"))) == 2


def test_a_line_that_fails_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("nowhere")

    monkeypatch.setattr("voxtell_dicom.verify.acceptance.publish", broken)
    (found,) = verified(slices.save(slices.stack(slices.noise((6, 24, 20))), tmp_path / "s"), tmp_path)
    assert (found.outcome, found.reason) == ("wrong", "the line fails: KeyError: 'nowhere'")


def test_what_pydicom_cannot_read_is_unproven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path, frame: int) -> None:
        raise AttributeError("no such attribute")

    monkeypatch.setattr("voxtell_dicom.verify.acceptance.source_values", broken)
    (found,) = verified(slices.save(slices.stack(slices.noise((6, 24, 20))), tmp_path / "s"), tmp_path)
    assert found.outcome == "unproven"
    assert "no such attribute" in found.reason


REFUSED = {
    "ct_abdomen_j2k_blank_uids": ["empty-uid"],
    "mr_missing_slice": ["missing-slice"],
    "mr_enh_interrupted": ["missing-slice"],
}
EXACT = {
    "ct_abdomen_j2k": 1,
    "ct_ge_tilt_varspacing": 2,
    "ct_thorax_tcia": 1,
    "mr_dwi_3b_one_series": 3,
    "mr_enh_2echo_xa30": 2,
    "mr_enh_interrupted": 1,
    "mr_enh_mag_b0_one_object": 2,
    "mr_j2k_fragments_sub": 1,
    "mr_localizer_3_orient": 3,
    "mr_two_echo": 2,
    "pt_body_ac_tcia": 1,
}


@pytest.mark.corpus
def test_corpus(tmp_path: Path) -> None:
    """Whatever folder of real series is named: nothing wrong, nothing unproven, every refusal with a name."""
    from voxtell_dicom.cli.scan import scan

    seen = 0
    for folder in sorted(path for path in CORPUS.iterdir() if path.is_dir()) or [CORPUS]:
        try:
            series = scan(folder).series
        except Refusal:  # no DICOM file in it
            continue
        found = [each for one in series for each in verified(one, tmp_path)]
        seen += len(found)
        outcomes = [each.outcome for each in found]
        assert not {"wrong", "unproven"} & set(outcomes), (folder.name, [each.reason for each in found])
        assert all(each.row.code or each.reason for each in found if each.outcome == "refused")
        if folder.name in EXACT or folder.name in REFUSED:
            assert outcomes.count("exact") == EXACT.get(folder.name, 0), folder.name
            assert [each.row.code for each in found if each.outcome == "refused"] == REFUSED.get(folder.name, [])
    assert seen


def test_assembly_is_the_same_in_any_order_of_files(tmp_path: Path) -> None:
    datasets = slices.stack(slices.noise((6, 24, 20)))
    one, other = (slices.save(datasets, tmp_path / str(seed), shuffle=seed) for seed in (1, 2))
    uids = [[frame.sop_instance_uid for frame in assemble(series).volumes[0].frames] for series in (one, other)]
    assert uids[0] == uids[1]

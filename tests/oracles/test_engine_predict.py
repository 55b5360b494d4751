"""`voxtell-dicom predict` beside voxtell-predict: same NIfTI files, checkpoint and bank, same files out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from unittest.mock import patch

import nibabel
import numpy as np
import pytest
import torch
from typer.testing import CliRunner
from voxtell.inference import predict_from_raw_data as official_cli

from tests.oracles import engine_oracle as oracle
from voxtell_dicom.cli import app
from voxtell_dicom.engine.bank import Bank

PATCH = (32, 32, 64)
LONG = "a very long finding in the left lower lobe of the lung, " * 5
PROMPTS = ["liver", "Right Kidney", "T12/L1 disc", LONG]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = oracle.official_model(oracle.SMALL_SIZES, oracle.SMALL_ARCH, PATCH)
    oracle.randomise(model, seed=4)
    where = tmp_path_factory.mktemp("predict") / "small"
    oracle.write_official_directory(where, model, oracle.SMALL_SIZES, oracle.SMALL_ARCH, PATCH)
    rng = np.random.default_rng(6)
    Bank({p: rng.standard_normal(2560).astype(np.float16) for p in PROMPTS}).write(where / "text_embeddings.npz")
    return where


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images, neither in RAS order."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(8)
    turned = np.array([[0, 0, 3.0, -10], [-0.8, 0, 0, 20], [0, 0.9, 0, 5], [0, 0, 0, 1]])
    for name, shape, affine in (
        ("one.nii.gz", (50, 36, 33), turned),
        ("two.nii", (32, 40, 30), np.diag([-1, -1, 2, 1])),
    ):
        image = nibabel.Nifti1Image(rng.normal(0, 100, shape).astype(np.float32), affine)
        nibabel.save(image, folder / name)
    return folder


def _official(directory: Path, arguments: list[str]) -> int:
    def build(model_dir: str, device: torch.device, embedding_bank: str, use_precomputed_embeddings: bool) -> object:
        bank = oracle.predictor_module.load_embedding_bank(embedding_bank)
        return oracle.official_predictor(Path(model_dir), oracle.SMALL_SIZES, oracle.SMALL_ARCH, PATCH, bank)

    with (
        patch.object(official_cli, "VoxTellPredictor", build),
        patch.object(sys, "argv", ["voxtell-predict", *arguments]),
    ):
        return official_cli.main()


@pytest.mark.parametrize("options", [[], ["--save-combined"]], ids=["a file per prompt", "combined"])
def test_same_names_masks_and_affines(directory: Path, images: Path, tmp_path: Path, options: list[str]) -> None:
    """Identical with --exact; the fast decoder's logits differ by a millionth, which may turn a voxel at logit 0."""
    bank = str(directory / "text_embeddings.npz")
    common = ["-i", str(images), "-m", str(directory), "--device", "cpu", "--embeddings", bank, *options]
    assert _official(directory, [*common, "-o", str(tmp_path / "theirs"), "-p", *PROMPTS]) == 0
    for side, more in (("exact", ["--exact"]), ("fast", [])):
        result = CliRunner().invoke(app, ["predict", *common, *more, "-o", str(tmp_path / side), "-p", *PROMPTS])
        assert result.exit_code == 0, result.output
    assert _differing(tmp_path / "exact", tmp_path / "theirs", 2 if options else 2 * len(PROMPTS)) == 0
    assert _differing(tmp_path / "fast", tmp_path / "theirs", 2 if options else 2 * len(PROMPTS)) <= 2


def _differing(ours_in: Path, theirs_in: Path, files: int) -> int:
    """Voxels that differ, over all files; names, affines and types must be the same."""
    ours, theirs = sorted(ours_in.iterdir()), sorted(theirs_in.iterdir())
    assert [p.name for p in ours] == [p.name for p in theirs]
    assert len(ours) == files
    differing = 0
    for a, b in zip(ours, theirs, strict=True):
        mine, reference = nibabel.load(a), nibabel.load(b)
        assert np.array_equal(mine.affine, reference.affine)
        assert mine.get_data_dtype() == reference.get_data_dtype()
        values = np.asarray(reference.dataobj)
        assert (values > 0).mean() > 0.01
        differing += int((np.asarray(mine.dataobj) != values).sum())
    return differing


def test_jobs_no_overwrite_and_wrong_use(directory: Path, images: Path, tmp_path: Path) -> None:
    jobs = tmp_path / "jobs.json"
    jobs.write_text(json.dumps([{"image": str(images / "two.nii"), "prompts": "liver"}]))
    common = ["predict", "-m", str(directory), "--device", "cpu", "-o", str(tmp_path / "out")]
    runner = CliRunner()
    first = runner.invoke(app, [*common, "--jobs", str(jobs)])
    assert first.exit_code == 0, first.output
    assert "Wrote 1 file(s)" in first.output
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["two_liver.nii.gz"]
    again = runner.invoke(app, [*common, "--jobs", str(jobs), "--no-overwrite"])
    assert "Wrote 0 file(s)" in again.output
    for wrong in (["-p", "liver"], ["-i", str(images)], ["-i", str(images), "-p", "liver", "--jobs", "[]"],
                  ["--jobs", "{"], ["--jobs", "[]"], ["-i", str(tmp_path / "none.nii"), "-p", "liver"]):  # fmt: skip
        assert runner.invoke(app, [*common, *wrong]).exit_code == 1, wrong
    listed = runner.invoke(
        app, ["predict", "--list-embeddings", "--embeddings", str(directory / "text_embeddings.npz")]
    )
    assert listed.output.splitlines()[0] == "4 precomputed embeddings available:"


def test_jobs_that_are_none_are_one_clear_line(directory: Path, images: Path, tmp_path: Path) -> None:
    image, file = str(images / "two.nii"), tmp_path / "jobs.json"
    common = ["predict", "-m", str(directory), "--device", "cpu", "-o", str(tmp_path / "out")]
    for entry, words in (
        ({"image": image, "prompts": [1]}, "prompts must be a text or a list of texts, not [1]"),
        ({"image": image, "prompts": None}, "prompts must be a text or a list of texts, not None"),
        ({"image": 3, "prompts": "liver"}, "a job's image must be a path, not 3"),
        ({"image": image, "prompts": []}, "has no prompts"),
        ({"image": image}, "each --jobs entry needs 'image' and 'prompts'"),
    ):
        _refused([*common, "--jobs", json.dumps([entry])], words)
    for content in (b"\xff\xfe\x00", b"{"):
        file.write_bytes(content)
        _refused([*common, "--jobs", str(file)], f"--jobs {file} is not JSON: ")
    assert len(_refused([*common, "--jobs", "[" + "x" * 5000], "neither a file nor JSON")) < 300
    assert not (tmp_path / "out").exists()
    file.write_text(json.dumps([{"image": image, "prompts": "liver"}]), encoding="utf-8-sig")  # as Windows writes it
    done = CliRunner().invoke(app, [*common, "--jobs", str(file)])
    assert done.exit_code == 0, done.output


def _refused(arguments: list[str], words: str) -> str:
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 1
    assert isinstance(answer.exception, SystemExit), "no traceback"
    assert words in answer.output
    return answer.output


def test_what_is_no_number_is_named_and_nothing_half_written_stays(
    directory: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.ones((8, 8, 8), np.float32)
    values[1, 2, 3] = np.nan
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "nan.nii")
    common = ["predict", "-m", str(directory), "--device", "cpu", "-p", "liver"]
    out = tmp_path / "out"
    _refused([*common, "-i", str(tmp_path / "nan.nii"), "-o", str(out)], f"{tmp_path / 'nan.nii'}: the volume holds")
    _refused([*common, "-i", str(images / "two.nii"), "-o", str(tmp_path / "nan.nii")], "File exists")

    def full(_reader: object, _mask: object, name: str, _properties: object) -> None:
        Path(name).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nnunetv2.imageio.nibabel_reader_writer.NibabelIOWithReorient.write_seg", full)
    _refused([*common, "-i", str(images / "two.nii"), "-o", str(out)], "No space left on device")
    assert not list(out.iterdir()), "--no-overwrite would take half a mask for done"


def test_files_that_are_named_are_read_whatever_their_suffix(directory: Path, images: Path, tmp_path: Path) -> None:
    image = nibabel.load(images / "two.nii")
    nibabel.save(nibabel.Nifti1Pair(np.asarray(image.dataobj), image.affine), tmp_path / "pair.hdr")
    (tmp_path / "UP.NII.GZ").write_bytes((images / "one.nii.gz").read_bytes())
    bank = str(directory / "text_embeddings.npz")
    common = ["-i", str(tmp_path / "pair.hdr"), str(tmp_path / "UP.NII.GZ"), "-m", str(directory), "--device", "cpu"]
    common += ["--embeddings", bank, "-p", "liver"]
    assert _official(directory, [*common, "-o", str(tmp_path / "theirs")]) == 0
    done = CliRunner().invoke(app, ["predict", *common, "--exact", "-o", str(tmp_path / "ours")])
    assert done.exit_code == 0, done.output
    assert _differing(tmp_path / "ours", tmp_path / "theirs", 2) == 0
    (tmp_path / "words.txt").write_text("no image")
    neither = ["predict", "-i", str(tmp_path / "words.txt"), "-m", str(directory), "-o", str(tmp_path), "-p", "liver"]
    _refused(neither, "words.txt: neither an image that nibabel reads nor DICOM in it")


def test_what_cannot_be_read_is_one_clear_line(directory: Path, images: Path, tmp_path: Path) -> None:
    broken, four = tmp_path / "broken.nii.gz", tmp_path / "four.nii.gz"
    broken.write_bytes(b"not an image")
    nibabel.save(nibabel.Nifti1Image(np.zeros((8, 8, 8, 2), np.float32), np.eye(4)), four)
    common = ["predict", "-m", str(directory), "--device", "cpu", "-o", str(tmp_path / "out"), "-p", "liver"]
    for path in (broken, four):
        answer = CliRunner().invoke(app, [*common, "-i", str(path)])
        assert answer.exit_code == 1
        assert isinstance(answer.exception, SystemExit), "no traceback"
        assert f"voxtell-dicom: {path} cannot be read as a 3-D NIfTI image" in answer.output
    many = ["--save-combined", "-i", str(images), "-p", *(f"p{n}" for n in range(256))]
    answer = CliRunner().invoke(app, [*common[:-2], *many])
    assert answer.exit_code == 1
    assert "at most 255 prompts" in answer.output


def test_our_options_reach_the_engine(directory: Path, images: Path, tmp_path: Path) -> None:
    common = ["predict", "-m", str(directory), "--device", "cpu", "-i", str(images / "one.nii.gz"), "-p", "liver"]
    plain = CliRunner().invoke(app, [*common, "-o", str(tmp_path / "plain")])
    wide = CliRunner().invoke(app, [*common, "-o", str(tmp_path / "wide"), "--step", "1", "--crop-to-body"])
    assert plain.exit_code == wide.exit_code == 0, wide.output
    masks = [np.asarray(nibabel.load(tmp_path / side / "one_liver.nii.gz").dataobj) for side in ("plain", "wide")]
    assert masks[0].any()
    assert not np.array_equal(*masks)
    wrong = CliRunner().invoke(app, [*common, "-o", str(tmp_path / "none"), "--step", "0"])
    assert wrong.exit_code == 1
    assert "step must be above 0" in wrong.output

"""The truth: on grids, in files, and as an engine, each against the analytic shapes by another way."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from voxtell_dicom.errors import GridMismatch, Refusal, UnknownPrompt
from voxtell_dicom.model import Request
from voxtell_dicom.phantom import LABELS, Acquisition, TruthEngine, label_of, torso, truth_mask, write_truth
from voxtell_dicom.phantom.anatomy import label_mask

COARSE = {"slice_spacing_mm": 6.0, "pixel_spacing_mm": (5.0, 5.0)}


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
def test_nibabel_finds_each_label_where_the_shapes_are(plane: str, tmp_path: Path) -> None:
    anatomy = torso(21)
    report = json.loads(write_truth(anatomy, Acquisition(plane=plane, **COARSE), tmp_path).read_text())
    assert set(report["labels"]) == set(LABELS)
    for label, about in report["labels"].items():
        image = nibabel.load(tmp_path / about["file"])
        mask = np.asarray(image.dataobj).astype(bool)
        index = np.stack(np.meshgrid(*(np.arange(n) for n in mask.shape), indexing="ij"), axis=-1)
        points = nibabel.affines.apply_affine(image.affine, index) * (-1, -1, 1)
        expected = label_mask(anatomy.sample(points), label)
        assert mask.sum() == about["voxels"] > 0
        assert (mask != expected).sum() <= 8, label  # float32 header: surfaces move by microns
        assert about["volume_ml"] == pytest.approx(mask.sum() * 0.15)
        assert np.allclose(points[mask].mean(axis=0), about["center_mm"], atol=0.01)


def test_truth_json_is_enough_to_rebuild_a_shape(tmp_path: Path) -> None:
    """The lesion from the numbers in the file alone, against the mask beside it."""
    report = json.loads(write_truth(torso(22), Acquisition(**COARSE), tmp_path).read_text())
    (lesion,) = (shape for shape in report["shapes"] if shape["tissue"] == "lesion")
    assert lesion["kind"] == "ellipsoid"
    image = nibabel.load(tmp_path / "liver_lesion.nii.gz")
    index = np.stack(np.meshgrid(*(np.arange(n) for n in image.shape), indexing="ij"), axis=-1)
    points = nibabel.affines.apply_affine(image.affine, index) * (-1, -1, 1)
    inside = (((points - lesion["center_mm"]) / lesion["semi_mm"]) ** 2).sum(axis=-1) <= 1
    assert inside.sum() == report["labels"]["liver lesion"]["voxels"]


def test_a_tilted_acquisition_has_no_nifti(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="tilt"):
        write_truth(torso(1), Acquisition(tilt_deg=10.0), tmp_path)


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
def test_the_truth_engine_answers_on_the_ras_grid(plane: str, volume_of) -> None:
    anatomy, way = torso(23), Acquisition(plane=plane, **COARSE)
    volume = volume_of(anatomy, way)
    engine = TruthEngine(anatomy, volume)
    array = np.zeros(volume.shape_zyx, np.float32)
    requests = [Request("Right renal"), Request("spleen"), Request("brain")]
    right_kidney, spleen, brain = engine.segment(array, volume.spacing_zyx_mm, requests)
    assert brain.voxels == 0
    z, y, x = np.argwhere(right_kidney.mask.to_array(array.shape)).mean(axis=0)
    spleen_at = np.argwhere(spleen.mask.to_array(array.shape)).mean(axis=0)
    assert x > array.shape[2] / 2 > spleen_at[2]  # RAS: x runs towards the patient's right
    assert z < spleen_at[0]  # and z upwards: the kidney lies lower
    assert y < array.shape[1] / 2  # and y to the front: the kidney lies at the back
    # The same mask by the other way: on the source frames.
    back = np.flip(
        right_kidney.mask.to_array(array.shape), [i for i, flip in enumerate(volume.to_ras.flips) if flip]
    ).transpose(np.argsort(volume.to_ras.axes))
    assert np.array_equal(back, truth_mask(anatomy, "right kidney", volume))
    assert np.array_equal(back, truth_mask(anatomy, "right kidney", volume.grid))


def test_the_truth_follows_the_frames_of_a_tilted_gantry(volume_of) -> None:
    anatomy, way = torso(24), Acquisition(**COARSE, tilt_deg=14.0)
    volume = volume_of(anatomy, way)
    expected = anatomy.mask("liver", way.lattice(anatomy))
    assert (truth_mask(anatomy, "liver", volume) != expected).sum() <= 2
    assert (truth_mask(anatomy, "liver", volume.grid) != expected).sum() > 100


def test_the_truth_engine_says_what_it_cannot_do(volume_of) -> None:
    anatomy, way = torso(25), Acquisition(**COARSE)
    volume = volume_of(anatomy, way)
    engine = TruthEngine(anatomy, volume)
    assert engine.unknown(["liver", "Brain", "bananas"]) == ["bananas"]
    with pytest.raises(GridMismatch, match="voxels"):
        list(engine.segment(np.zeros((3, 3, 3), np.float32), volume.spacing_zyx_mm, [Request("liver")]))
    done: list[int] = []
    array = np.zeros(volume.shape_zyx, np.float32)
    given = engine.segment(
        array, volume.spacing_zyx_mm, [Request("liver"), Request("aorta")],
        progress=lambda n, _: done.append(n), cancelled=lambda: bool(done),
    )  # fmt: skip
    assert [segment.request.prompt for segment in given] == ["liver"]
    with pytest.raises(UnknownPrompt, match="bananas"):
        truth_mask(anatomy, "bananas", volume)
    assert label_of("Vertebrae") == "spine"

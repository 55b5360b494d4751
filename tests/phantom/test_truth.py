"""The truth: on grids and in files, each against the analytic shapes by another way."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests.series.slices import from_frames
from voxtell_dicom.errors import Refusal, UnknownPrompt
from voxtell_dicom.model import Mask
from voxtell_dicom.phantom import LABELS, Acquisition, label_of, torso, truth_mask, write_truth
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
def test_the_truth_lies_on_its_side_of_the_ras_grid(plane: str, volume_of) -> None:
    anatomy, way = torso(23), Acquisition(plane=plane, **COARSE)
    volume = volume_of(anatomy, way)
    truth = {label: truth_mask(anatomy, label, volume) for label in ("Right renal", "spleen")}
    masks = {label: from_frames(Mask.from_array(mask), volume) for label, mask in truth.items()}
    z, y, x = np.argwhere(masks["Right renal"].to_array(volume.shape_zyx)).mean(axis=0)
    spleen_at = np.argwhere(masks["spleen"].to_array(volume.shape_zyx)).mean(axis=0)
    assert x > volume.shape_zyx[2] / 2 > spleen_at[2]  # RAS: x runs towards the patient's right
    assert z < spleen_at[0]  # and z upwards: the kidney lies lower
    assert y < volume.shape_zyx[1] / 2  # and y to the front: the kidney lies at the back
    assert np.array_equal(truth["Right renal"], truth_mask(anatomy, "right kidney", volume.grid))


def test_the_truth_follows_the_frames_of_a_tilted_gantry(volume_of) -> None:
    anatomy, way = torso(24), Acquisition(**COARSE, tilt_deg=14.0)
    volume = volume_of(anatomy, way)
    expected = anatomy.mask("liver", way.lattice(anatomy))
    assert (truth_mask(anatomy, "liver", volume) != expected).sum() <= 2
    assert (truth_mask(anatomy, "liver", volume.grid) != expected).sum() > 100


def test_words_that_mean_no_label_are_unknown() -> None:
    anatomy = torso(25)
    with pytest.raises(UnknownPrompt, match="bananas"):
        truth_mask(anatomy, "bananas", Acquisition(**COARSE).grid(anatomy))
    assert label_of("Vertebrae") == "spine"

"""The torso: the same for ever, left and right as in a patient, nothing ambiguous."""

from __future__ import annotations

import numpy as np
import pytest

from voxtell_dicom.phantom.anatomy import LABELS, TISSUES, label_mask, torso
from voxtell_dicom.phantom.shapes import Ellipsoid, Lattice, rotation, vector

COARSE = Lattice((-180.0, -140.0, -180.0), ((0.0, 0.0, 4.0), (0.0, 4.0, 0.0), (4.0, 0.0, 0.0)), (90, 70, 90))


FROZEN = {
    "body": 178698,
    "left lung": 11244,
    "right lung": 9311,
    "lungs": 20555,
    "liver": 13134,
    "liver lesion": 481,
    "spleen": 2099,
    "left kidney": 909,
    "right kidney": 1088,
    "spine": 3865,
    "aorta": 827,
    "urinary bladder": 1857,
}


def center(mask: np.ndarray) -> np.ndarray:
    """Centroid in patient LPS of a mask on COARSE (z, y, x)."""
    return np.asarray(COARSE.origin_mm) + 4.0 * np.argwhere(mask).mean(axis=0)[::-1]


def test_the_torso_of_a_seed_never_changes() -> None:
    """The committed weights and other tests rest on these numbers (voxels of 64 mm³, seed 0)."""
    codes = torso(0).tissues(COARSE)
    found = {label: int(label_mask(codes, label).sum()) for label in LABELS}
    for label, count in FROZEN.items():
        assert found[label] == pytest.approx(count, rel=2e-3), label


@pytest.mark.parametrize("seed", range(100, 120))
def test_right_is_right_and_everything_is_there(seed: int) -> None:
    codes = torso(seed).tissues(COARSE)
    at = {label: center(label_mask(codes, label)) for label in LABELS}
    for right, left in (("right kidney", "left kidney"), ("right lung", "left lung"), ("liver", "spleen")):
        assert at[right][0] < at["spine"][0] < at[left][0]  # LPS: x grows towards the left
    assert at["urinary bladder"][2] < at["right kidney"][2] < at["right lung"][2]
    assert at["spine"][1] > at["liver"][1]  # y grows towards the back
    body = label_mask(codes, "body")
    assert not body[[0, -1]].any()
    assert not body[:, [0, -1]].any()
    assert not body[:, :, [0, -1]].any()


@pytest.mark.parametrize("seed", range(200, 260, 3))
def test_the_lesion_is_whole_and_in_the_liver(seed: int) -> None:
    anatomy = torso(seed)
    (lesion,) = (organ.solid for organ in anatomy.organs if organ.tissue == "lesion")
    assert isinstance(lesion, Ellipsoid)
    assert 10 <= min(lesion.semi_mm) <= max(lesion.semi_mm) <= 25
    low, high = (np.asarray(corner) for corner in lesion.box())
    fine = Lattice(vector(low - 3), ((0, 0, 1.0), (0, 1.0, 0), (1.0, 0, 0)), tuple((high - low + 6).astype(int)[::-1]))
    codes = anatomy.tissues(fine)
    inside = codes == TISSUES.index("lesion")
    assert inside.sum() == pytest.approx(4 / 3 * np.pi * np.prod(lesion.semi_mm), rel=0.02)
    assert 180 <= anatomy.hu["lesion"] - anatomy.hu["liver"] <= 320
    assert label_mask(codes, "liver")[inside].all()


def test_a_lattice_is_sampled_where_its_points_are() -> None:
    """Bounding boxes and broadcasting change nothing: point by point gives the same, on an oblique lattice."""
    anatomy = torso(7)
    axes = rotation((12.0, -7.0, 20.0)) * 5.0
    lattice = Lattice((-150.0, -160.0, -140.0), (vector(axes[2]), vector(axes[1]), vector(axes[0])), (55, 60, 62))
    index = np.stack(np.meshgrid(*(np.arange(n) for n in lattice.shape), indexing="ij"), axis=-1)
    points = np.asarray(lattice.origin_mm) + index @ np.asarray(lattice.steps_mm)
    codes = lattice and anatomy.tissues(lattice)
    assert len(np.unique(codes)) == len(TISSUES)
    assert (anatomy.sample(points) != codes).sum() <= 2  # rounding, on the very surface


def test_nothing_is_painted_outside_the_skin() -> None:
    for seed in (2, 3, 89, 165):
        anatomy = torso(seed)
        whole = tuple(slice(0, n) for n in COARSE.shape)
        assert not (anatomy.tissues(COARSE)[~anatomy.body.contains(*COARSE.coordinates(whole))]).any()


def test_hounsfield_units_are_those_of_the_tissues() -> None:
    anatomy = torso(3)
    codes = anatomy.tissues(COARSE)
    image = anatomy.hounsfield(codes)
    for tissue in TISSUES:
        values = image[codes == TISSUES.index(tissue)]
        assert values.mean() == pytest.approx(anatomy.hu[tissue], abs=5), tissue
    assert not np.array_equal(image, anatomy.hounsfield(codes, noise_seed=1))
    assert image.min() >= -1024

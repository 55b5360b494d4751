"""The self-check knows a wrong side, a swapped pair, an edge, emptiness, an odd volume; and when to be silent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.series import slices
from voxtell_dicom.check import selfcheck
from voxtell_dicom.check.selfcheck import centre_mm, midline_of, self_check
from voxtell_dicom.model import Found, Mask, Prompt, Volume
from voxtell_dicom.series.headers import assemble
from voxtell_dicom.series.volume import to_ras

SHAPE = (20, 60, 100)  # 5 × 5 × 4 mm: a body 320 mm wide in a 400 mm field of view


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    stored = np.zeros(SHAPE, np.uint16)
    stored[:, 10:50, 10:90] = 1064  # 40 HU in air
    series = slices.save(slices.stack(stored, spacing=(5.0, 5.0, 4.0), origin=(-198, -150, 0)), tmp_path)
    return assemble(series).volumes[0]


def box(frames: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]) -> Mask:
    array = np.zeros(SHAPE, bool)
    array[slice(*frames), slice(*rows), slice(*columns)] = True
    return Mask.from_array(array)


ON_RIGHT = box((8, 12), (25, 35), (20, 35))  # low columns of an axial slice: the patient's right
ON_LEFT = box((8, 12), (25, 35), (65, 80))


def kinds(volume: Volume, midline: float | None = 0.0, **masks: Mask) -> list[tuple[str, str]]:
    found = [Found(Prompt(text.replace("_", " "), text), mask) for text, mask in masks.items()]
    return [(finding.kind, finding.label) for finding in self_check(found, volume, midline_mm=midline)]


def test_midline_and_centre(volume: Volume) -> None:
    assert midline_of(to_ras(volume), volume) == pytest.approx(0.0, abs=4)
    assert centre_mm(ON_LEFT, volume) == pytest.approx((-198 + 72 * 4, -150 + 29.5 * 5, 9.5 * 5))
    assert volume.millilitres(ON_LEFT) == pytest.approx(4 * 10 * 15 * 0.1)


@pytest.mark.parametrize(
    ("masks", "expected"),
    [
        ({"left_kidney": ON_LEFT, "right_kidney": ON_RIGHT}, []),
        ({"left_kidney": ON_RIGHT}, [("laterality", "left_kidney")]),
        ({"right_adrenal_gland": ON_LEFT}, [("laterality", "right_adrenal_gland")]),
        ({"spleen": ON_LEFT, "liver": box((5, 15), (20, 40), (15, 35))}, []),
        ({"spleen": ON_RIGHT, "liver": box((5, 15), (20, 40), (65, 85))}, [("pair", "liver")]),
        ({"left_lobe_of_the_liver": ON_RIGHT}, []),
        ({"right_ventricle": ON_LEFT}, []),
        ({"left_and_right_kidney": ON_LEFT}, []),
        ({"rib": box((0, 4), (25, 35), (20, 35))}, [("edge", "rib")]),
        ({"rib": box((4, 8), (25, 60), (20, 35))}, [("edge", "rib")]),
        ({"rib": Mask.from_array(np.zeros(SHAPE, bool))}, [("empty", "rib")]),
        ({"spleen": box((8, 9), (25, 27), (65, 67))}, [("volume", "spleen")]),
        ({"gallbladder": box((2, 18), (10, 50), (10, 50))}, [("volume", "gallbladder")]),
    ],
    ids=str,
)
def test_findings(volume: Volume, masks: Mapping[str, Mask], expected: list[tuple[str, str]]) -> None:
    assert kinds(volume, **masks) == expected


def test_swapped_kidneys_are_said_as_sides_and_as_a_pair(volume: Volume) -> None:
    found = kinds(volume, left_kidney=ON_RIGHT, right_kidney=ON_LEFT)
    assert sorted(kind for kind, _ in found) == ["laterality", "laterality", "pair"]
    assert kinds(volume, midline=None, left_kidney=ON_RIGHT, right_kidney=ON_LEFT) == [("pair", "right_kidney")]


def test_no_midline_in_a_limb_or_where_one_side_is_cut(volume: Volume) -> None:
    limb = np.full(volume.shape_zyx, -1000, np.float32)
    limb[:, 20:40, 40:60] = 40
    assert midline_of(limb, volume) is None
    half = np.full(volume.shape_zyx, -1000, np.float32)
    half[:, 10:50, 30:] = 40
    assert midline_of(half, volume) is None


def test_no_midline_where_a_small_field_shows_an_inner_part(tmp_path: Path) -> None:
    """A field of 320 mm, body to both edges: its middle may be anywhere in the body; at 400 mm it is the body's."""
    stored = np.full(SHAPE, 1064, np.uint16)
    for number, (pixel, midline) in enumerate(((3.2, None), (4.0, pytest.approx(2.0, abs=4)))):
        series = slices.save(
            slices.stack(stored, spacing=(5.0, 5.0, pixel), origin=(-49.5 * pixel, -150, 0)), tmp_path / str(number)
        )
        (small,) = assemble(series).volumes
        assert midline_of(to_ras(small), small) == midline


def test_a_single_limb_has_no_midline_of_the_body(tmp_path: Path) -> None:
    """One thigh in a field of 240 mm is as wide as a head; a femur lies beside its middle."""
    stored = np.zeros(SHAPE, np.uint16)
    stored[:, 10:50, 10:90] = 1064
    series = slices.save(slices.stack(stored, spacing=(5.0, 5.0, 2.4), origin=(-118.8, -150, 0)), tmp_path)
    (thigh,) = assemble(series).volumes
    assert midline_of(to_ras(thigh), thigh) == pytest.approx(0.0, abs=4)
    assert kinds(thigh, left_femur=ON_RIGHT) == []
    assert kinds(thigh, left_kidney=ON_RIGHT) == [("laterality", "left_kidney")]
    assert kinds(thigh, midline=None, left_femur=ON_RIGHT, right_femur=ON_LEFT) == [("pair", "right_femur")]


@pytest.mark.parametrize(
    "names", [("kidney_l", "kidney_r"), ("Lt_kidney", "Rt_kidney"), ("Kidney_Left", "Kidney_Right")]
)
def test_sides_in_short_are_judged(volume: Volume, names: tuple[str, str]) -> None:
    left, right = names
    found = [Found(Prompt(left, left), ON_RIGHT), Found(Prompt(right, right), ON_LEFT)]
    said = self_check(found, volume, midline_mm=0.0)
    assert [(finding.kind, finding.label) for finding in said] == [
        ("laterality", left),
        ("laterality", right),
        ("pair", right),
    ]


def test_what_crosses_the_midline_is_left_alone(volume: Volume) -> None:
    assert kinds(volume, left_renal_veins=ON_RIGHT, left_innominate_vein=ON_RIGHT, left_ovary=ON_RIGHT) == []
    assert kinds(volume, left_atrial_appendage=ON_RIGHT, what_is_left_over=ON_RIGHT, left_hand=ON_RIGHT) == []


def test_only_what_has_a_side_or_a_partner_is_unpacked(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    """A centroid takes longer than to segment by a threshold."""
    measured: list[Mask] = []
    monkeypatch.setattr(selfcheck, "centre_mm", lambda mask, _volume: measured.append(mask) or (0.0, 0.0, 0.0))
    kinds(volume, bone=ON_LEFT, liver=ON_RIGHT, left_kidney=ON_LEFT, left_lobe_of_the_liver=ON_RIGHT)
    assert measured == [ON_LEFT]
    kinds(volume, liver=ON_RIGHT, spleen=ON_LEFT, midline=None)
    assert measured[1:] == [ON_RIGHT, ON_LEFT]

"""Secondary captures and the receipt: valid, with the contours and the words in their pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from tests.encode import made
from voxtell_dicom.config import Config
from voxtell_dicom.encode import encode
from voxtell_dicom.encode.colors import colors_of
from voxtell_dicom.encode.provenance import maker_of
from voxtell_dicom.encode.receipt import receipt_lines
from voxtell_dicom.encode.secondary import encode_receipt, encode_secondary

TEXTS = ("liver", "left kidney", "spleen", "nothing", "right kidney")


def test_each_segment_is_shown_on_a_page(tmp_path: Path) -> None:
    volume = made.volume(
        tmp_path / "s",
        shape=(12, 20, 24),
        SpecificCharacterSet="ISO_IR 100",
        PatientName="Müller",
        BodyPartExamined="ABDOMEN",
    )
    plan = made.plan(TEXTS)
    arrays = [np.zeros(volume.grid.shape, bool) for _ in TEXTS]
    for number, array in enumerate(arrays):
        array[2:10, 2 + 2 * number : 8 + 2 * number, 3 + 2 * number : 12 + 2 * number] = number != 3
    results = encode_secondary(plan, volume, made.found(plan, arrays), directory=tmp_path, engine="phantom")
    assert len(results) == 2  # three segments on a page
    assert len({result.series_uid for result in results}) == 1
    shown = [prompt for prompt in plan.prompts if prompt.text != "nothing"]
    for number, result in enumerate(results, 1):
        assert made.dciodvfy(result.path) == []
        ds = pydicom.dcmread(result.path)
        assert (ds.Modality, ds.InstanceNumber, ds.StudyInstanceUID) == ("OT", number, volume.study_uid)
        assert ds.BurnedInAnnotation == "YES"
        assert str(ds.PatientName) == "Müller"
        pixels = ds.pixel_array.astype(int)
        for color in colors_of(shown):  # the legend names all of them, on every page
            assert np.count_nonzero(np.abs(pixels - color).max(axis=2) < 12) > 50
    assert encode_secondary(plan, volume, made.found(plan, arrays), directory=tmp_path, engine="phantom") == results


@pytest.mark.parametrize("part", ["CHEST", "KNEE", "PARTIALBODY", ""])
def test_laterality_stands_where_the_body_part_may_be_a_pair(tmp_path: Path, part: str) -> None:
    volume = made.volume(tmp_path / "s", BodyPartExamined=part)
    plan = made.plan(TEXTS[:1])
    found = made.found(plan, made.masks(volume.grid.shape, 1))
    (result,) = encode_secondary(plan, volume, found, directory=tmp_path, engine="phantom")
    assert ("Laterality" in pydicom.dcmread(result.path)) == (part != "CHEST")
    assert made.dciodvfy(result.path) == []


def test_nothing_found_has_no_page(tmp_path: Path) -> None:
    volume = made.volume(tmp_path / "s")
    plan = made.plan(["liver"])
    assert (
        encode_secondary(plan, volume, made.found(plan, [np.zeros(volume.grid.shape, bool)]), directory=tmp_path) == []
    )


def test_the_receipt_says_what_was_found_and_what_not(tmp_path: Path) -> None:
    volume = replace(made.volume(tmp_path / "s"), warnings=("2 slices are missing",))
    plan = made.plan(["liver", "spleen"], options={"incomplete": "lost link"})
    arrays = made.masks(volume.grid.shape, 2)
    arrays[1][:] = False
    found = made.found(plan, arrays)
    lines = receipt_lines(plan, maker_of(plan), volume, found)
    assert "Found       1 of 2" in lines
    assert f"  Liver   found, {arrays[0].sum() * 2.5 * 0.75 * 0.8 / 1000:.1f} mL" in lines
    assert "  Spleen  NOT FOUND" in lines
    assert "! 2 slices are missing" in lines
    assert "! the series is incomplete: lost link" in lines
    assert not any("Doe" in line or "P1" in line.split() for line in lines), "patient data are burned in"
    result = encode_receipt(plan, volume, found, directory=tmp_path)
    assert made.dciodvfy(result.path) == []
    pixels = pydicom.dcmread(result.path).pixel_array
    assert 0.005 < np.mean(pixels.max(axis=2) > 200) < 0.2  # words on black


@pytest.mark.parametrize(
    ("wish", "masks", "kinds"),
    [
        ("never", (True, False), ["seg"]),
        ("never", (False, False), []),
        ("on_problem", (True, True), ["seg"]),
        ("on_problem", (True, False), ["seg", "receipt"]),
        ("on_problem", (False, False), ["receipt"]),
        ("always", (True, True), ["seg", "receipt"]),
    ],
)
def test_when_a_receipt_is_made(tmp_path: Path, wish: str, masks: tuple[bool, bool], kinds: list[str]) -> None:
    rule = {"name": "abdomen", "when": {"Modality": "CT"}, "prompts": ["liver", "spleen"], "receipt": wish}
    config = Config.model_validate({"version": 1, "model": {"engine": "phantom"}, "rules": [rule]})
    volume = made.volume(tmp_path / "s")
    plan = made.plan(["liver", "spleen"])
    found = made.found(plan, [np.full(volume.grid.shape, mask) for mask in masks])
    results = encode(plan, volume, found, config=config, directory=tmp_path / "out")
    assert [result.kind for result in results] == kinds

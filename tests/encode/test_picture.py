"""Pictures and the two small commands."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from typer.testing import CliRunner

from tests.encode import made
from tests.json_page import assert_documented
from voxtell_dicom.cli import look, terms
from voxtell_dicom.encode import OutputContext, encode_seg
from voxtell_dicom.encode.capture.picture import picture
from voxtell_dicom.encode.capture.scene import read_scene
from voxtell_dicom.encode.common.profiles import Form
from voxtell_dicom.encode.seg.segmentation import encode_segmentation
from voxtell_dicom.errors import EncodingError
from voxtell_dicom.model import Result, Volume
from voxtell_dicom.terms.colors import colors_of


def encoded(folder: Path, **geometry: object) -> tuple[Result, Volume, np.ndarray]:
    volume = made.volume(folder / "s", shape=(12, 20, 24), **geometry)  # type: ignore[arg-type]
    plan = made.plan(["liver", "left kidney"])
    arrays = [np.zeros(volume.grid.shape, bool) for _ in range(2)]
    arrays[0][3:9, 4:12, 5:15] = True
    arrays[1][5:8, 14:18, 16:22] = True
    result = encode_seg(OutputContext(plan, volume, made.found(plan, arrays), directory=folder))
    assert result is not None
    return result, volume, np.stack(arrays)


@pytest.mark.parametrize("descending", [False, True])
def test_the_scene_is_the_mask_on_its_source(tmp_path: Path, descending: bool) -> None:
    result, volume, arrays = encoded(tmp_path, descending=descending)
    scene = read_scene(result.path, tmp_path / "s")
    back = slice(None, None, -1 if descending else 1)  # along the normal of the image plane
    assert np.array_equal(np.stack([mask.to_array(volume.grid.shape) for mask in scene.masks])[:, back], arrays)
    assert scene.values[back][:, 0, 0].tolist() == list(range(12))  # each frame holds its number
    assert scene.labels == ("Liver", "Left kidney")


@pytest.mark.parametrize("form", [Form("occupancy", "rle"), Form("fractional", "rle"), Form("labelmap", "rle")])
def test_every_type_of_segmentation_is_shown(tmp_path: Path, form: Form) -> None:
    _, volume, arrays = encoded(tmp_path)
    plan = made.plan(["liver", "left kidney"])
    (result,) = encode_segmentation(
        OutputContext(plan, volume, made.found(plan, list(arrays)), directory=tmp_path), form
    )
    scene = read_scene(result.path, tmp_path / "s")
    assert np.array_equal(np.stack([mask.to_array(volume.grid.shape) for mask in scene.masks]), arrays)
    assert scene.labels == ("Liver", "Left kidney")
    assert scene.colors == tuple(colors_of(plan.prompts))


@pytest.mark.parametrize(("row", "column"), [((1, 0, 0), (0, 1, 0)), ((1, 0, 0), (0, 0, -1)), ((0, 1, 0), (0, 0, -1))])
def test_contours_are_drawn_in_the_segments_colours(tmp_path: Path, row: tuple, column: tuple) -> None:  # type: ignore[type-arg]
    result, _, _ = encoded(tmp_path, row=row, column=column)
    image = matplotlib.image.imread(picture(result.path, tmp_path / "s", tmp_path / "p" / "x.png"))[..., :3] * 255
    for color in colors_of(made.plan(["liver", "left kidney"]).prompts):
        assert np.count_nonzero(np.abs(image - np.array(color)).max(axis=2) < 12) > 100


def test_no_source_is_an_error(tmp_path: Path) -> None:
    result, volume, _ = encoded(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(EncodingError, match="none of its source instances"):
        picture(result.path, tmp_path / "empty", tmp_path / "x.png")
    with pytest.raises(EncodingError, match="not a segmentation"):
        picture(volume.frames[0].path, tmp_path / "s", tmp_path / "x.png")


def test_look(tmp_path: Path) -> None:
    result, _, _ = encoded(tmp_path)
    run = CliRunner().invoke(look.app, [str(result.path), "-o", str(tmp_path / "x.png")])
    assert run.exit_code == 0, run.output
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_terms() -> None:
    run = CliRunner().invoke(terms.app, ["left kidney tumour", "> 300", "--json"])
    assert run.exit_code == 0, run.output
    first, second = assert_documented("voxtell-dicom terms", run.output)
    assert (first["type"]["meaning"], first["laterality"]["meaning"]) == ("Neoplasm", "Left")
    assert first["region"]["meaning"] == "Kidney"
    assert second["private"]
    shown = CliRunner().invoke(terms.app, ["left kidney tumour", "> 300"]).output
    assert "Neoplasm" in shown
    assert "99VOXTELL" in shown

"""Every source frame with the contours burned in: a series that scrolls with its source, and says what it is."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

from tests.encode import made, structures
from tests.encode.test_matrix import dcentvfy
from voxtell_dicom.config import Config
from voxtell_dicom.encode import OutputContext, encode_instead, output_context
from voxtell_dicom.encode.capture.burned import LONGEST, SHORTEST, letters_of, scale_of
from voxtell_dicom.encode.capture.overlay import encode_overlay
from voxtell_dicom.model import Mask, Plan, Prompt, Result, Volume
from voxtell_dicom.terms.colors import colors_of


def overlays(
    folder: Path, volume: Volume, masks: list[made.Bools], plan: Plan | None = None
) -> tuple[list[Result], Plan]:
    plan = plan or made.plan([f"structure {number}" for number in range(len(masks))])
    return encode_overlay(
        OutputContext(plan, volume, made.found(plan, masks), directory=folder / "out", engine="phantom")
    ), plan


def block(shape: tuple[int, int, int]) -> made.Bools:
    mask = np.zeros(shape, bool)
    mask[1:-1, shape[1] // 4 : -shape[1] // 4, shape[2] // 4 : -shape[2] // 4] = True
    return mask


GEOMETRIES: dict[str, dict[str, Any]] = {
    "small": {},
    "source matrix": {"shape": (3, 512, 512), "spacing_mm": (5, 0.7, 0.7)},
    "huge": {"shape": (3, 2051, 1030), "spacing_mm": (5, 0.1, 0.1)},
    "long pixels": {"shape": (4, 30, 200), "spacing_mm": (1.0, 5.0, 0.8)},
    "very long pixels": {"shape": (3, 40, 900), "spacing_mm": (1.0, 12.0, 0.5)},
    "coronal": {"row": (1, 0, 0), "column": (0, 0, -1), "descending": True},
    "sagittal": {"row": (0, 1, 0), "column": (0, 0, -1)},
    "tilted": {"shear_mm": (0, 0.9, 0)},
    "one slice": {"shape": (3, 64, 64)},
}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_contours_lie_where_the_source_has_them(tmp_path: Path, name: str) -> None:
    volume = made.volume(tmp_path / "s", **GEOMETRIES[name])
    shape = volume.grid.shape
    masks = [block(shape), np.zeros(shape, bool), np.ones(shape, bool), np.zeros(shape, bool)]
    masks[1][1, 3, 5] = True  # one voxel
    masks[3][1, 2:9, 7] = True  # a line, one voxel wide
    results, plan = overlays(tmp_path, volume, masks)
    assert len(results) == shape[0]
    assert len({pydicom.dcmread(result.path).pixel_array.shape for result in results}) == 1
    for result in results:
        assert made.dciodvfy(result.path) == []
    paths, sources = [result.path for result in results], [(frame.path, frame.number) for frame in volume.frames]
    if name != "huge":
        structures.assert_outlined(paths, sources, masks, colors_of(plan.prompts))
    else:  # a pixel is three by three voxels
        drawn = structures.outlined(paths, sources, shape, colors_of(plan.prompts))
        for mask, pixels in zip(masks, drawn, strict=True):
            near = np.zeros_like(mask)
            for index, row, column in np.argwhere(pixels):
                near[index, max(0, row - 1) : row + 3, max(0, column - 1) : column + 3] = True
            assert pixels.any()
            assert not (structures.outlines(mask) & ~near)[:, 2:-3, 2:-3].any()
    assert dcentvfy([*(frame.path for frame in volume.frames), *paths]) == []


def test_it_scrolls_with_its_source(tmp_path: Path) -> None:
    """In the order of the source's own numbers, here from the other end; one series; frame of reference, positions."""
    more = {"PositionReferenceIndicator": "XY", "SliceThickness": 5}
    volume = made.volume(tmp_path / "s", shape=(5, 512, 512), InstanceNumber=lambda index: 50 - index, **more)
    results, _ = overlays(tmp_path, volume, [block(volume.grid.shape)])
    read = [pydicom.dcmread(result.path) for result in results]
    assert [ds.InstanceNumber for ds in read] == [1, 2, 3, 4, 5]
    backwards = list(reversed(volume.frames))
    assert [ds.SourceImageSequence[0].ReferencedSOPInstanceUID for ds in read] == [
        frame.sop_instance_uid for frame in backwards
    ]
    for ds, frame in zip(read, backwards, strict=True):
        source = pydicom.dcmread(frame.path)
        for keyword in (
            "ImagePositionPatient",
            "ImageOrientationPatient",
            "PixelSpacing",
            "FrameOfReferenceUID",
            *more,
        ):
            assert ds[keyword].value == source[keyword].value, "at the source's matrix, the source's own"
        assert (ds.Columns, ds.PatientOrientation) == (source.Columns, ["L", "P"])
    for keyword in ("SeriesInstanceUID", "SeriesDescription", "SeriesDate", "SeriesTime", "SeriesNumber", "Rows"):
        assert len({str(ds[keyword].value) for ds in read}) == 1
    assert read[0].BurnedInAnnotation == "YES"


def test_instance_numbers_that_are_none_give_the_order_of_the_volume(tmp_path: Path) -> None:
    words = ("abc", "1,5", "nan", "", "1\\2")
    volume = made.volume(tmp_path / "s", shape=(5, 20, 24))
    for frame, word in zip(volume.frames, words, strict=True):
        ds = pydicom.dcmread(frame.path)
        raw = word.encode() + b" " * (len(word) % 2)
        ds[0x00200013] = RawDataElement(BaseTag(0x00200013), "IS", len(raw), raw, 0, False, True)
        ds.save_as(frame.path)
    results, _ = overlays(tmp_path, volume, [block(volume.grid.shape)])
    sources = [pydicom.dcmread(result.path).SourceImageSequence[0].ReferencedSOPInstanceUID for result in results]
    assert sources == [frame.sop_instance_uid for frame in volume.frames]


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    volume = made.volume(tmp_path / "s")
    results, plan = overlays(tmp_path, volume, [block(volume.grid.shape)])
    times = {pydicom.dcmread(result.path).SeriesTime for result in results}
    results[3].path.unlink()
    before = {result.path: result.path.read_bytes() for result in results if result.path.exists()}
    time.sleep(0.01)
    again, _ = overlays(tmp_path, volume, [block(volume.grid.shape)], plan)
    assert [replace(result, digest="") for result in again] == [replace(result, digest="") for result in results]
    assert {pydicom.dcmread(result.path).SeriesTime for result in again} == times
    assert {path: path.read_bytes() for path in before} == before
    assert overlays(tmp_path, volume, [np.zeros(volume.grid.shape, bool)], made.plan(["nothing"])) == (
        [],
        made.plan(["nothing"]),
    )


def test_it_goes_in_the_place_of_a_refused_segmentation(tmp_path: Path) -> None:
    volume = made.volume(tmp_path / "s")
    plan = made.plan(["liver"], send_to=("pacs",))
    found = made.found(plan, [block(volume.grid.shape)])
    peers = {"pacs": {"folder": "pacs", "fallback": ["overlay"]}}
    config = Config.model_validate({"version": 1, "model": {"engine": "phantom"}, "peers": peers})
    made_ = encode_instead(
        output_context(plan, volume, found, config=config, directory=tmp_path / "out"), "seg", "pacs", (), config
    )
    assert [(result.kind, result.peers) for result in made_] == [("overlay", ("pacs",))] * 6
    refused = {made_[0].sop_instance_uid}
    assert (
        encode_instead(
            output_context(plan, volume, found, config=config, directory=tmp_path / "out"),
            "seg",
            "pacs",
            refused,
            config,
        )
        == []
    )


RAMP = np.broadcast_to(np.linspace(0, 1000, 512).astype(np.int16), (2, 512, 512))


@pytest.mark.parametrize(
    ("attributes", "modality", "dark_to_light"),
    [
        ({"WindowCenter": 500, "WindowWidth": 1000}, "CT", True),
        ({"WindowCenter": [500, 40], "WindowWidth": [1000, 400]}, "CT", True),
        ({"WindowCenter": 500, "WindowWidth": 1000, "PhotometricInterpretation": "MONOCHROME1"}, "CT", False),
        ({"PhotometricInterpretation": "MONOCHROME1", "RescaleIntercept": -500}, "MR", False),
        ({}, "MR", True),
        ({}, "PT", False),
    ],
)
def test_grey_is_as_on_the_source(
    tmp_path: Path, attributes: dict[str, Any], modality: str, dark_to_light: bool
) -> None:
    volume = replace(made.volume(tmp_path / "s", shape=RAMP.shape, values=RAMP, **attributes), modality=modality)
    mask = np.zeros(RAMP.shape, bool)
    mask[0, 300:310, 300:310] = True
    (first, _), _ = overlays(tmp_path, volume, [mask])
    line = pydicom.dcmread(first.path).pixel_array[100, 30:-30].astype(int)
    assert (line[:, 0] == line[:, 1]).all()
    steps = np.diff(line[:, 0])
    assert (steps >= 0).all() if dark_to_light else (steps <= 0).all()
    assert abs(int(line[-1, 0]) - int(line[0, 0])) > 200


def test_a_window_of_the_source_shows_lungs_as_lungs(tmp_path: Path) -> None:
    values = np.full((2, 512, 512), -600, np.int16)
    for window, grey in (({"WindowCenter": -600, "WindowWidth": 1500}, 127), ({}, 0), ({"WindowWidth": 0}, 0)):
        volume = made.volume(tmp_path / str(window), shape=values.shape, values=values, **window)
        (first, _), _ = overlays(tmp_path / str(window), volume, [block(values.shape) | True])
        assert pydicom.dcmread(first.path).pixel_array[200, 200].tolist() == [grey] * 3


def test_words_and_names(tmp_path: Path) -> None:
    """Sixty names, long and foreign; the warning and the test mark; the sides of the patient."""
    volume = made.volume(tmp_path / "s", shape=(3, 128, 128), SpecificCharacterSet="ISO_IR 100", PatientName="Müller")
    labels = ["肝臓", "$liver_{2", *(f"structure {number} {'x' * 60}"[:64] for number in range(58))]
    plan = made.plan([], prompts=[Prompt(label, label) for label in labels])
    results, _ = overlays(tmp_path, volume, [block(volume.grid.shape)] * 60, plan)
    ds = pydicom.dcmread(results[0].path)
    assert made.dciodvfy(results[0].path) == []
    assert str(ds.PatientName) == "Müller"
    assert ds.Rows <= 2 * ds.Columns + 96, "the legend is not higher than the picture"
    yellow = (ds.pixel_array[..., :2].min(axis=2) > 120) & (ds.pixel_array[..., 2] < 100)
    assert yellow[:20, :200].sum() > 50, "the warning, on the picture"
    assert yellow[-20:].sum() > 50, "and below the legend"
    for rows, columns in ((slice(180, 204), slice(0, 20)), (slice(180, 204), slice(-20, None))):
        assert yellow[rows, columns].sum() > 3, "right and left"


def test_letters() -> None:
    assert [letters_of(direction) for direction in ((1, 0, 0), (0, -1, 0), (0, 0, -1), (0.6, 0.0, 0.8))] == [
        "L",
        "A",
        "F",
        "HL",
    ]


@pytest.mark.parametrize("matrix", [(1, 1), (64, 64), (512, 512), (1024, 700), (3000, 20), (4096, 4096), (5, 2000)])
def test_a_picture_is_bounded(matrix: tuple[int, int]) -> None:
    for spacing in ((1.0, 1.0), (5.0, 0.5), (0.1, 30.0)):
        scale = scale_of(matrix, spacing)
        rows, columns = (-(-size * times // scale.every) for size, times in zip(matrix, scale.times, strict=True))
        assert max(rows, columns) <= LONGEST
        assert max(rows, columns) >= SHORTEST
        assert scale.every == 1 or scale.times == (1, 1)


def test_a_plane_of_a_mask() -> None:
    """Without the rest, also where its bits begin within a byte."""
    array = np.random.default_rng(0).random((5, 7, 9)) < 0.5
    mask = Mask.from_array(array)
    (first, stop), rows, columns = mask.box
    for index in range(-1, 6):
        inside = array[index, slice(*rows), slice(*columns)] if first <= index < stop else np.zeros((7, 9), bool)
        assert np.array_equal(mask.plane(index), inside)


@pytest.mark.parametrize("columns", [8, 9])  # frames of whole bytes, and others
def test_the_occupied_frames_of_a_mask(columns: int) -> None:
    array = np.random.default_rng(0).random((6, 7, columns)) < 0.5
    array[3] = False
    mask = Mask.from_array(array)
    assert mask.occupied() == np.flatnonzero(array.any(axis=(1, 2))).tolist() == [0, 1, 2, 4, 5]


def test_of_a_long_series_one_frame_is_held_at_a_time(tmp_path: Path) -> None:
    """Sixty frames of 512 × 512, twenty segments."""
    import tracemalloc

    shape = (60, 512, 512)
    volume = made.volume(tmp_path / "s", shape=shape, spacing_mm=(1, 0.7, 0.7))
    mask = Mask.from_array(block(shape))
    plan = made.plan([f"structure {number}" for number in range(20)])
    found = [replace(item, mask=mask) for item in made.found(plan, [np.zeros((1, 1, 1), bool)] * 20)]
    encode_overlay(OutputContext(replace(plan, rule="warm up"), volume, found[:1], directory=tmp_path / "warm"))
    tracemalloc.start()
    results = encode_overlay(OutputContext(plan, volume, found, directory=tmp_path / "out"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(results) == 60
    assert peak < 60 * 2**20, f"{peak / 2**20:.0f} MiB: not so much as the masks of one segment take, times four"

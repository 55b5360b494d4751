"""Windows that are spared: what is left out, what stays, and that the engine's identity says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from voxtell_dicom.engine import open_engine
from voxtell_dicom.engine.body import body_of
from voxtell_dicom.engine.predictor import Predictor
from voxtell_dicom.errors import ModelError
from voxtell_dicom.model import Request, Segment

SHAPE = (96, 60, 64)
REQUESTS = [Request("liver"), Request("spleen", probability=True)]


@pytest.fixture(scope="module")
def volume() -> np.ndarray:
    """Noisy air, a body with a lung in it, and a table that is not part of it."""
    rng = np.random.default_rng(2)
    array = rng.normal(-1000, 15, SHAPE)
    array[44:90, 16:40, 20:56] = rng.normal(40, 60, (46, 24, 36))
    array[44:90, 22:34, 30:44] = rng.normal(-850, 20, (46, 12, 14))
    array[30:90, 52:54, 8:62] = 100
    return array.astype(np.float32)


def test_the_body_is_its_largest_part_with_its_cavities(volume: np.ndarray) -> None:
    body = body_of(volume)
    assert body.box == ((40, 96), (12, 44), (16, 60))
    assert body.blocks[15, 7, 9], "within the lung"
    assert not body.meets((0, 0, 0), (32, 32, 32))
    assert body.meets((32, 0, 0), (32, 32, 32))
    assert not body.meets((-32, 16, 20), (32, 32, 32)), "in the padding"
    assert body.cropped().box == ((0, 56), (0, 32), (0, 44))


def test_a_hot_spot_is_not_the_body() -> None:
    """PET: a bladder a hundred times as bright as the rest."""
    array = np.abs(np.random.default_rng(1).normal(0, 0.02, (64, 64, 64))).astype(np.float32)
    array[8:56, 12:52, 12:52] += 1
    array[10:18, 28:36, 28:36] = 100
    assert body_of(array).box == ((4, 60), (8, 56), (8, 56))


def test_a_volume_without_air_is_all_body() -> None:
    array = np.random.default_rng(1).normal(40, 10, (24, 20, 17)).astype(np.float32)
    (a, b), (c, d), (e, f) = body_of(array).box
    assert (b - a) * (d - c) * (f - e) > 0.5 * array.size


@pytest.fixture(scope="module")
def plain(tiny_directory: Path, volume: np.ndarray) -> tuple[Predictor, dict[Request, Segment]]:
    predictor = Predictor.load(tiny_directory, device="cpu")
    return predictor, {s.request: s for s in predictor.segment(volume, (1, 1, 1), REQUESTS)}


@pytest.mark.parametrize("options", [{"skip_empty": True}, {"crop_to_body": True}, {"step": 1.0}], ids=str)
def test_windows_are_spared_and_no_mask_lies_where_none_was_computed(
    tiny_directory: Path,
    volume: np.ndarray,
    plain: tuple[Predictor, dict[Request, Segment]],
    options: dict[str, object],
) -> None:
    usual, expected = plain
    asked = Predictor.load(tiny_directory, device="cpu", **options)
    seen: list[tuple[int, int]] = []
    got = {s.request: s for s in asked.segment(volume, (1, 1, 1), REQUESTS, progress=lambda *n: seen.append(n))}
    assert usual.last_run is not None
    assert asked.last_run is not None
    assert asked.last_run.windows < usual.last_run.windows
    assert asked.last_run.encoded == asked.last_run.windows == seen[-1][0] == seen[-1][1]
    assert usual.identity != asked.identity
    body = body_of(volume)
    for request in REQUESTS:
        ours, theirs = got[request].mask.to_array(SHAPE), expected[request].mask.to_array(SHAPE)
        assert ours.any()
        if "crop_to_body" in options:
            outside = np.ones(SHAPE, bool)
            outside[tuple(slice(*r) for r in body.box)] = False
            assert not ours[outside].any()
        if "skip_empty" in options:  # what only spared windows reach is empty; what they do not reach is the same
            assert not ours[:16, :16, :16].any()
            assert theirs[:16, :16, :16].any()
            assert np.array_equal(ours[64:80, 20:40, 30:50], theirs[64:80, 20:40, 30:50])
        inside = got[request].probability
        assert inside is None or bool(np.isfinite(inside).all())


def test_where_the_body_is_the_whole_volume_nothing_changes(tiny_directory: Path) -> None:
    array = np.random.default_rng(3).normal(0, 100, (40, 40, 36)).astype(np.float32)
    array += 4000 * (np.indices(array.shape).min(0) >= 1)  # air on three sides only, one voxel thick
    plain, skipping = (
        list(Predictor.load(tiny_directory, device="cpu", **options).segment(array, (1, 1, 1), REQUESTS[:1]))
        for options in ({}, {"skip_empty": True})
    )
    assert plain == skipping


@pytest.mark.parametrize("shape", [(1, 40, 36), (3, 2, 1), (36, 3, 40)])
def test_volumes_thinner_than_a_block_are_run(tiny_directory: Path, shape: tuple[int, int, int]) -> None:
    array = np.random.default_rng(1).normal(40, 10, shape).astype(np.float32)
    spared = Predictor.load(tiny_directory, device="cpu", skip_empty=True, crop_to_body=True)
    assert all(low == 0 and high == size for (low, high), size in zip(body_of(array).box, shape, strict=True))
    assert np.array_equal(
        spared.predict(array, "liver"), Predictor.load(tiny_directory, device="cpu").predict(array, "liver")
    )


def test_options_are_checked(tiny_directory: Path) -> None:
    with pytest.raises(ModelError, match="step must be above 0"):
        open_engine(directory=tiny_directory, device="cpu", step=0)
    assert "step/0.75 skip_empty" in open_engine(directory=tiny_directory, step=0.75, skip_empty=True).identity
    assert open_engine(kind="threshold", step=0.75).identity.endswith("threshold")

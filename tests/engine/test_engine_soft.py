"""Probability maps: what they hold, and how they follow what was done to the mask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from voxtell_dicom.engine import open_engine
from voxtell_dicom.engine.postprocess import cleaned_segment
from voxtell_dicom.engine.predictor import Predictor
from voxtell_dicom.engine.soft import Soft, with_probabilities
from voxtell_dicom.engine.threshold import ThresholdEngine
from voxtell_dicom.model import Cleanup, Mask, Request, Segment

SHAPE = (5, 12, 40)
SPACING = (1.0, 1.0, 1.0)


def two_hills() -> np.ndarray:
    """Two probable parts with slopes that meet, the left one larger, with a hole."""
    z, y, x = np.indices(SHAPE)
    left = 1 - np.hypot(np.hypot(z - 2, y - 6), x - 10) / 10
    right = 0.9 - np.hypot(np.hypot(z - 2, y - 6), x - 29) / 8
    probability = np.clip(np.maximum(left, right), 0, 1).astype(np.float32)
    probability[2, 6, 10] = 0.2
    return probability


def engine_of(probability: np.ndarray, asked: list[Request], taken: np.ndarray | None = None):  # type: ignore[no-untyped-def]
    """A stand-in for `Engine.segment`. taken: voxels that another prompt of an exclusive group has."""

    def run(requests: Sequence[Request]) -> Iterator[Segment]:
        asked.extend(requests)
        for request in requests:
            above = probability > request.threshold
            mask = Mask.from_array(above & ~taken if taken is not None and request.exclusive_group else above)
            values = np.where(above, probability, 0)[mask.slices].astype(np.float16) if request.probability else None
            yield cleaned_segment(Segment(request, mask.box, mask.packed_bits, mask.voxels, 0.8, 0.1, values), SPACING)

    return run


def one(probability: np.ndarray, request: Request, taken: np.ndarray | None = None) -> tuple[Soft, np.ndarray]:
    (soft,) = with_probabilities(engine_of(probability, [], taken), [request])
    assert soft.probabilities is not None
    return soft, soft.probabilities.to_array(SHAPE)


def test_a_map_is_the_probability_above_the_floor() -> None:
    probability = two_hills()
    asked: list[Request] = []
    requests = [Request("a"), Request("a", probability=True), Request("a", 0.7)]
    plain, soft, strict = with_probabilities(engine_of(probability, asked), requests)
    assert [each.segment.request for each in (plain, soft, strict)] == requests
    assert plain.probabilities is None
    assert strict.probabilities is None
    assert soft.segment.mask == plain.segment.mask, "asking for it changes no mask"
    assert soft.probabilities is not None
    wanted = np.rint(255 * np.where(probability > 0.05, probability, 0).astype(np.float16).astype(np.float32))
    assert np.array_equal(soft.probabilities.to_array(SHAPE), wanted)
    assert len(asked) == 3, "the mask of equal requests once, and the map"
    assert with_probabilities(engine_of(probability, []), [Request("a", 0.01, probability=True)])
    _, low = one(probability, Request("a", 0.01, probability=True))
    assert np.array_equal(low > 0, probability > 0.01), "a threshold below the floor is the floor"


def test_a_removed_part_takes_its_slope_along() -> None:
    probability = two_hills()
    _, whole = one(probability, Request("a", probability=True))
    soft, mended = one(probability, Request("a", probability=True, cleanup=Cleanup(largest_component=True)))
    kept = soft.segment.mask.to_array(SHAPE)
    assert not kept[..., 25:].any()
    assert not mended[..., 22:].any(), "no ghost of the part that was removed"
    assert np.array_equal(mended[..., :18], whole[..., :18]), "what was kept has its slope"
    assert ((mended > 128) <= kept).all()


def test_a_filled_hole_keeps_its_probability() -> None:
    soft, mended = one(two_hills(), Request("a", probability=True, cleanup=Cleanup(fill_holes=True)))
    assert soft.segment.mask.to_array(SHAPE)[2, 6, 10]
    assert mended[2, 6, 10] == round(255 * 0.2)


def test_what_another_prompt_of_the_group_took_is_not_there() -> None:
    taken = np.zeros(SHAPE, bool)
    taken[..., 20:] = True
    soft, mended = one(two_hills(), Request("a", probability=True, exclusive_group="g"), taken)
    assert soft.segment.voxels
    assert not (mended[taken] > 128).any()


def test_where_nothing_is_above_the_threshold_there_is_no_map() -> None:
    soft, mended = one(two_hills() * 0.5, Request("a", 0.6, probability=True))
    assert soft.segment.voxels == 0
    assert not mended.any()


def test_an_engine_without_probabilities_gives_0_and_255() -> None:
    array = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    engine = ThresholdEngine()
    request = Request("> 700", probability=True, cleanup=Cleanup(minimum_ml=0.1))
    (soft,) = with_probabilities(lambda asked: engine.segment(array, SPACING, asked), [request])
    assert soft.probabilities is not None
    assert np.array_equal(soft.probabilities.to_array(SHAPE), 255 * soft.segment.mask.to_array(SHAPE))
    assert soft.segment.voxels == np.count_nonzero(array > 700)


def test_a_cancelled_pass_gives_nothing() -> None:
    assert list(with_probabilities(lambda _: iter(()), [Request("a", probability=True)])) == []


def test_the_network_is_run_once_for_masks_and_maps(tiny_directory: Path) -> None:
    predictor = open_engine(directory=tiny_directory, device="cpu")
    assert isinstance(predictor, Predictor)
    array = np.random.default_rng(3).normal(0, 100, (40, 40, 36)).astype(np.float32)
    plain = list(predictor.segment(array, SPACING, [Request("liver"), Request("spleen")]))
    before = predictor.last_run
    requests = [Request("liver", probability=True), Request("spleen", probability=True)]
    softs = list(with_probabilities(lambda asked: predictor.segment(array, SPACING, asked), requests))
    assert before is not None
    assert predictor.last_run is not None
    assert (predictor.last_run.windows, predictor.last_run.encoded) == (before.windows, before.encoded)
    for soft, segment in zip(softs, plain, strict=True):
        assert soft.segment.mask == segment.mask
        assert soft.probabilities is not None
        values = soft.probabilities.to_array(array.shape)
        mask = segment.mask.to_array(array.shape)
        assert (values[mask] >= 127).all()
        assert (values[~mask] <= 128).all()
        assert (
            values[mask].mean() / 255 == np.float32(segment.mean_probability)
            or abs(values[mask].mean() / 255 - (segment.mean_probability or 0)) < 2e-3
        )

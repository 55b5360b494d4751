"""The bundled model, through our engine: what the model card promises, on seeds that training never saw."""

from __future__ import annotations

import numpy as np
import pytest

from tools.phantom_prompts import ABSENT, bank
from voxtell_dicom.engine import open_engine, phantom_directory
from voxtell_dicom.model import Request
from voxtell_dicom.phantom import LABELS, Acquisition, demo_acquisition, torso
from voxtell_dicom.phantom.anatomy import label_mask
from voxtell_dicom.phantom.prompts import SYNONYMS
from voxtell_dicom.phantom.writer import INTERCEPT, stored_values

AXIAL = (0, 1, 2), (1, 2)  # (frame, row, column) to RAS: axes, and which to flip
CORONAL = (1, 0, 2), (0, 1, 2)
SAGITTAL = (1, 2, 0), (0, 1)


@pytest.fixture(scope="module")
def engine():
    return open_engine(kind="phantom", device="cpu")


def scan(seed: int, way: Acquisition, to_ras) -> tuple[np.ndarray, np.ndarray]:
    """HU and tissue codes on the RAS grid (z, y, x)."""
    anatomy, (axes, flips) = torso(seed), to_ras
    turned = [
        np.ascontiguousarray(np.flip(array.transpose(axes), flips))
        for array in (stored_values(anatomy, way), anatomy.tissues(way.lattice(anatomy)))
    ]
    return turned[0].astype(np.float32) + INTERCEPT, turned[1]


def masks(engine, image: np.ndarray, prompts) -> dict[str, np.ndarray]:
    """Mask of each prompt."""
    found = engine.segment(
        image, (4.0, 4.0, 4.0), [Request(p) for p in prompts], progress=lambda *_: None, cancelled=lambda: False
    )
    return {segment.request.prompt: segment.mask.to_array(image.shape) for segment in found}


def dice(found: np.ndarray, truth: np.ndarray) -> float:
    """Dice of two masks."""
    return 2.0 * float((found & truth).sum()) / float(found.sum() + truth.sum())


@pytest.mark.parametrize("seed", [7001, 7002, 7003, 7004, 7005])
def test_each_structure_is_found_and_what_is_absent_is_not(engine, seed: int) -> None:
    image, codes = scan(seed, demo_acquisition(seed), AXIAL)
    absent = ABSENT[seed % 4 :: 4]
    found = masks(engine, image, [*LABELS, *absent])
    reached = {label: round(dice(found[label], label_mask(codes, label)), 3) for label in LABELS}
    assert min(reached.values()) >= 0.90, reached
    assert {prompt: int(found[prompt].sum()) for prompt in absent if found[prompt].any()} == {}


@pytest.mark.parametrize(
    ("way", "to_ras"),
    [
        (demo_acquisition(7006, "coronal"), CORONAL),
        (demo_acquisition(7006, "sagittal"), SAGITTAL),
        (Acquisition(turn_deg=(6.0, -5.0, 7.0)), AXIAL),
    ],
    ids=["coronal", "sagittal", "oblique"],
)
def test_other_planes_and_synonyms(engine, way: Acquisition, to_ras) -> None:
    image, codes = scan(7006, way, to_ras)
    words = {synonyms[seed % len(synonyms)]: label for seed, (label, synonyms) in enumerate(SYNONYMS.items())}
    found = masks(engine, image, words)
    reached = {word: round(dice(found[word], label_mask(codes, label)), 3) for word, label in words.items()}
    assert min(reached.values()) >= 0.90, reached


def test_left_and_right_are_never_mixed(engine) -> None:
    """No voxel of a right organ is called left, nor the other way round."""
    image, codes = scan(7007, demo_acquisition(7007), AXIAL)
    found = masks(engine, image, ["left kidney", "right kidney", "left lung", "right lung"])
    for organ in ("kidney", "lung"):
        for side, other in (("left", "right"), ("right", "left")):
            mixed = found[f"{side} {organ}"] & label_mask(codes, f"{other} {organ}")
            assert mixed.sum() <= 0.001 * label_mask(codes, f"{other} {organ}").sum()


def test_the_bank_is_the_one_that_the_code_makes(engine) -> None:
    labels, vectors = bank()
    assert engine.unknown([*labels, "bananas"]) == ["bananas"]
    with np.load(phantom_directory() / "text_embeddings.npz", allow_pickle=False) as stored:
        assert list(stored["labels"]) == labels
        assert np.allclose(stored["embeddings"].astype(float), vectors.astype(float), atol=2e-3)


def test_the_model_says_what_it_is() -> None:
    assert "no use on patients" in (phantom_directory() / "MODEL_CARD.md").read_text().lower()

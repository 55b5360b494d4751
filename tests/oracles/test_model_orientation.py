"""The demo model on one patient scanned four ways: as good coronal, feet first and tilted as on the tidy axial scan."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.series.slices import series_in
from voxtell_dicom.engine import open_engine
from voxtell_dicom.model import Engine, Mask, Request
from voxtell_dicom.phantom.acquisition import Acquisition
from voxtell_dicom.phantom.anatomy import torso
from voxtell_dicom.phantom.truth import truth_mask
from voxtell_dicom.phantom.writer import write_series
from voxtell_dicom.series.headers import assemble
from voxtell_dicom.series.volume import load_volume, to_frames
from voxtell_dicom.verify.baseline import dice

LABELS = ("liver", "spleen", "right kidney", "left kidney", "urinary bladder")
WAYS = {
    "coronal": Acquisition(plane="coronal"),
    "feet-first": Acquisition(position="FFS"),
    "tilted": Acquisition(tilt_deg=15.0),
}


@pytest.fixture(scope="module")
def engine() -> Engine:
    return open_engine(kind="phantom", device="cpu")


@pytest.fixture(scope="module")
def axial(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    return scores(engine, Acquisition(), tmp_path_factory.mktemp("axial"))


def scores(engine: Engine, acquisition: Acquisition, folder: Path) -> dict[str, float]:
    anatomy = torso(5)
    write_series(anatomy, acquisition, folder)
    (volume,) = assemble(series_in(folder)).volumes
    array, volume = load_volume(volume)
    requests = [Request(label) for label in LABELS]
    answers = engine.segment(
        array, volume.spacing_zyx_mm, requests, progress=lambda _done, _all: None, cancelled=lambda: False
    )
    found = {answer.request.prompt: to_frames(answer.mask, volume) for answer in answers}
    return {label: dice(found[label], Mask.from_array(truth_mask(anatomy, label, volume))) for label in LABELS}


@pytest.mark.parametrize("name", WAYS)
def test_within_two_hundredths_of_axial(name: str, engine: Engine, axial: dict[str, float], tmp_path: Path) -> None:
    assert min(axial.values()) > 0.9
    for label, score in scores(engine, WAYS[name], tmp_path).items():
        assert score >= axial[label] - 0.02, (label, score, axial[label])

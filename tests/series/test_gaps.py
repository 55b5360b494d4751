"""Missing and uneven slices: refused above 1.5 times the spacing, bridged for the model where a rule allows more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.series import slices
from voxtell_dicom.model import Mask
from voxtell_dicom.series.headers import assemble, read_frames
from voxtell_dicom.series.split import volumes_of
from voxtell_dicom.series.volume import load_volume, to_frames
from voxtell_dicom.verify.readback import source_values


def without(missing: set[int], folder: Path) -> slices.Series:
    datasets = [ds for index, ds in enumerate(slices.stack(slices.noise((9, 24, 20)))) if index not in missing]
    return slices.save(datasets, folder)


def test_refused_unless_allowed(tmp_path: Path) -> None:
    series = without({4}, tmp_path)
    assert [item.code for item in assemble(series).set_aside] == ["missing-slice"]
    assert [item.code for item in assemble(series, max_gap=1.99).set_aside] == ["missing-slice"]
    (volume,) = assemble(series, max_gap=2).volumes
    assert volume.grid.shape == (8, 24, 20)
    assert volume.canvas == (9, 24, 20)
    assert volume.planes == (0, 1, 2, 3, 5, 6, 7, 8)
    assert volume.grid.spacing_mm[0] == 2.0
    assert any(warning.startswith("gap: 1 slice(s) are missing") for warning in volume.warnings)


def test_model_gets_the_mean_and_masks_lie_on_their_own_frames(tmp_path: Path) -> None:
    (volume,) = assemble(without({2, 4, 5}, tmp_path), max_gap=3).volumes
    array, volume = load_volume(volume)
    stored = slices.noise((9, 24, 20)).astype(np.float32) - 1024
    source = array[:, ::-1, ::-1]
    np.testing.assert_array_equal(source[2], (stored[1] + stored[3]) / 2)
    np.testing.assert_allclose(source[5], stored[3] / 3 + stored[6] * 2 / 3, rtol=1e-5, atol=1e-3)
    mask = to_frames(Mask.from_array(array > 700.5), volume).to_array(volume.grid.shape)
    for index, frame in enumerate(volume.frames):
        np.testing.assert_array_equal(mask[index], source_values(frame.path, 1) > 700.5)


@settings(max_examples=30, deadline=None)
@given(missing=st.sets(st.integers(1, 7), max_size=2), tilted=st.booleans(), seed=st.integers(0, 1000))
def test_round_trip(tmp_path_factory, missing: set[int], tilted: bool, seed: int) -> None:  # type: ignore[no-untyped-def]
    step = (0, 1.3, 2.0) if tilted else None
    datasets = slices.stack(slices.noise((9, 24, 20)), step=step)
    kept = [ds for index, ds in enumerate(datasets) if index not in missing]
    series = slices.save(kept, tmp_path_factory.mktemp("gaps"))
    frames, _ = read_frames([instance.path for instance in series.instances])
    (volume,) = volumes_of(frames, max_gap=4)
    wanted = np.random.default_rng(seed).random(volume.grid.shape) < 0.05
    on_ras = slices.from_frames(Mask.from_array(wanted), volume)
    back = to_frames(on_ras, volume)
    assert back == Mask.from_array(wanted)

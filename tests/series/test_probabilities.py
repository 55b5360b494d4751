"""A probability map returns to its source frames as masks do: each of its levels goes where a mask goes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.series.slices import series_in
from voxtell_dicom.errors import GridMismatch
from voxtell_dicom.model import Mask, Probabilities
from voxtell_dicom.phantom import Acquisition, torso, write_series
from voxtell_dicom.series.headers import assemble
from voxtell_dicom.series.volume import all_probabilities_to_frames, all_to_frames, probabilities_to_frames, to_frames

COARSE = {"slice_spacing_mm": 12.0, "pixel_spacing_mm": (9.0, 11.0)}
SCANS = {
    "axial": Acquisition(**COARSE),
    "feet first": Acquisition(descending=True, **COARSE),
    "sagittal": Acquisition(plane="sagittal", **COARSE),
    "coronal": Acquisition(plane="coronal", descending=True, **COARSE),
    "oblique": Acquisition(turn_deg=(12.0, -17.0, 8.0), **COARSE),
    "tilted": Acquisition(tilt_deg=18.0, **COARSE),
}


def some_map(shape: tuple[int, int, int], seed: int) -> Probabilities:
    values = np.zeros(shape, np.uint8)
    inner = tuple(slice(size // 5, size - size // 6) for size in shape)
    values[inner] = np.random.default_rng(seed).integers(0, 256, values[inner].shape)
    return Probabilities.of(tuple((0, size) for size in shape), values)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SCANS)
def test_every_level_goes_where_a_mask_goes(tmp_path: Path, name: str) -> None:
    write_series(torso(2), SCANS[name], tmp_path)
    (volume,) = assemble(series_in(tmp_path)).volumes
    soft = some_map(volume.shape_zyx, 1)
    back = probabilities_to_frames(soft, volume).to_array(volume.grid.shape)
    for level in (0, 12, 127, 254):
        mask = Mask.from_array(soft.to_array(volume.shape_zyx) > level)
        assert np.array_equal(back > level, to_frames(mask, volume).to_array(volume.grid.shape))
    assert len(np.unique(back)) > 200
    nothing = Probabilities.of(((0, 0), (0, 0), (0, 0)), np.zeros((0, 0, 0), np.uint8))
    assert not probabilities_to_frames(nothing, volume).to_array(volume.grid.shape).any()
    with pytest.raises(GridMismatch):
        probabilities_to_frames(some_map(tuple(n + 9 for n in volume.shape_zyx), 1), volume)  # type: ignore[arg-type]


def test_runs_of_a_stack_are_joined_as_masks_are(tmp_path: Path) -> None:
    from dataclasses import replace

    write_series(torso(2), SCANS["axial"], tmp_path)
    (volume,) = assemble(series_in(tmp_path)).volumes
    grid = volume.grid
    cut = grid.shape[0] // 3
    runs = tuple(
        replace(volume, frames=volume.frames[part], grid=replace(grid, shape=(count, *grid.shape[1:])))
        for part, count in ((slice(0, cut), cut), (slice(cut, None), grid.shape[0] - cut))
    )
    joined = replace(volume, parts=runs)
    maps = [some_map(run.shape_zyx, seed) for seed, run in enumerate(runs)]
    back = all_probabilities_to_frames(maps, joined).to_array(grid.shape)
    for level in (0, 127):
        masks = [Mask.from_array(each.to_array(run.shape_zyx) > level) for each, run in zip(maps, runs, strict=True)]
        assert np.array_equal(back > level, all_to_frames(masks, joined).to_array(grid.shape))
    lower = [Probabilities.of(((0, 0),) * 3, np.zeros((0, 0, 0), np.uint8)), maps[1]]  # type: ignore[arg-type]
    assert np.array_equal(all_probabilities_to_frames(lower, joined).to_array(grid.shape)[cut:], back[cut:])

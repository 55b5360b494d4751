"""A stack of the phantom whose spacing changes along the way, as one series."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pydicom

from tests.series.slices import series_in
from voxtell_dicom.model import Volume
from voxtell_dicom.phantom.acquisition import Acquisition
from voxtell_dicom.phantom.anatomy import Anatomy
from voxtell_dicom.phantom.writer import write_series
from voxtell_dicom.series.headers import assemble
from voxtell_dicom.series.joined import joined
from voxtell_dicom.series.volume import load_volume


def steps(*runs: tuple[int, int], start: int = 0) -> list[int]:
    """The frames of runs of (frames, step); from the one run to the next it is the step of the coarser."""
    frames = [start - runs[0][1]]
    for before, (count, step) in zip([runs[0][1], *(step for _, step in runs)], runs, strict=False):
        first = frames[-1] + max(before, step)
        frames += [first + step * index for index in range(count)]
    return frames[1:]


def write_stack(anatomy: Anatomy, acquisition: Acquisition, frames: Sequence[int], folder: Path) -> list[Path]:
    """Of an acquisition the frames of these numbers, Slice Thickness as far as to the next. Returns their paths."""
    paths = write_series(anatomy, acquisition, folder)
    thickness = [(b - a) * acquisition.slice_spacing_mm for a, b in pairwise([*frames, 2 * frames[-1] - frames[-2]])]
    for path in {*paths} - {paths[frame] for frame in frames}:
        path.unlink()
    for frame, thick in zip(frames, thickness, strict=True):
        ds = pydicom.dcmread(paths[frame])
        ds.SliceThickness = f"{thick:g}"
        ds.save_as(paths[frame])
    return [paths[frame] for frame in frames]


def joined_stack(folder: Path) -> Volume:
    """The one stack of a folder, keyed and joined."""
    assembly = assemble(series_in(folder))
    assert not assembly.set_aside, assembly.set_aside
    return joined([load_volume(volume)[1] for volume in assembly.volumes])

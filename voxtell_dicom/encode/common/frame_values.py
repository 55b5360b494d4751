"""Rescaled values of source frames: those that the model was given where its arrays are still here, else decoded anew.

Decoded one file at a time; once for all outputs of a plan that need them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from voxtell_dicom.dicom.headers import HeaderSource
from voxtell_dicom.dicom.pixels import Stored, decode
from voxtell_dicom.dicom.rescale import Rescale
from voxtell_dicom.model import Volume, on_source_axes

USERS = frozenset(("sr", "secondary", "overlay"))  # outputs that need the values of source frames
Floats = npt.NDArray[np.float32]


@dataclass
class FrameValues:
    """The source frames of a volume. shared: several outputs need them, so stored values are held (2 bytes a voxel).

    arrays: files with the RAS array of each run, as the model was given it (`line.load`); none: the frames are decoded.
    """

    volume: Volume
    headers: HeaderSource
    shared: bool = False
    arrays: Sequence[Path] = ()
    _decoded: dict[tuple[Path, int], tuple[Stored, Rescale]] = field(default_factory=dict)

    def of(self, wanted: set[int]) -> Iterator[tuple[int, Floats]]:
        """Yield (index in `volume.frames`, rescaled values (row, column)) of the wanted frames, file by file.

        They are the values that the model saw. Raises Refusal (``pixels``, ``rescale``).
        """
        if self._planes:
            yield from ((index, np.array(self._planes[index])) for index in sorted(wanted))
            return
        by_path: dict[Path, list[int]] = {}
        for index in sorted(wanted):
            by_path.setdefault(self.volume.frames[index].path, []).append(index)
        for path, indices in by_path.items():
            numbers = [self.volume.frames[index].number for index in indices]
            for index, (stored, rescale) in zip(indices, self._decode(path, numbers), strict=True):
                yield index, rescale.real(stored)

    @cached_property
    def _planes(self) -> list[Floats]:
        """Each frame as a part of the arrays, on disk; none where they are gone."""
        planes: list[Floats] = []
        rows, columns = self.volume.grid.shape[1:]
        for run, path in zip(self.volume.runs, self.arrays, strict=False):
            try:
                source = on_source_axes(np.load(path, mmap_mode="r"), run.to_ras)
            except FileNotFoundError:  # dropped by another job of the volume
                return []
            for plane, frame in zip(run.planes, run.frames, strict=True):
                down, along = frame.shift_px
                planes.append(source[plane, down : down + rows, along : along + columns])
        return planes

    def _decode(self, path: Path, numbers: list[int]) -> Iterator[tuple[Stored, Rescale]]:
        if not self.shared:
            yield from decode(path, numbers, self.headers)
            return
        if missing := [number for number in numbers if (path, number) not in self._decoded]:
            decoded = zip(missing, decode(path, missing, self.headers), strict=True)
            self._decoded |= {(path, number): values for number, values in decoded}
        yield from (self._decoded[path, number] for number in numbers)

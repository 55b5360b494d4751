"""Rescaled values of source frames, decoded one file at a time; once for all outputs of a plan that need them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from voxtell_dicom.dicom.codecs.choice import pixel_array
from voxtell_dicom.dicom.headers import HeaderSource
from voxtell_dicom.encode.report.values import Floats, real_values
from voxtell_dicom.model import Volume

USERS = frozenset(("sr", "secondary", "overlay"))  # outputs that need the values of source frames
Stored = npt.NDArray[Any]


@dataclass
class FrameValues:
    """The source frames of a volume. shared: several outputs need them, so stored values are kept (2 bytes a voxel)."""

    volume: Volume
    headers: HeaderSource
    shared: bool = False
    _decoded: dict[Path, tuple[Dataset, Stored]] = field(default_factory=dict)

    def of(self, wanted: set[int]) -> Iterator[tuple[int, Floats]]:
        """Yield (index in `volume.frames`, rescaled values (row, column)) of the wanted frames, file by file."""
        by_path: dict[Path, list[int]] = {}
        for index in sorted(wanted):
            by_path.setdefault(self.volume.frames[index].path, []).append(index)
        for path, indices in by_path.items():
            ds, stored = self._decoded.get(path) or self._decode(path)
            for index in indices:
                number = self.volume.frames[index].number
                yield index, real_values(ds, stored[number - 1], number)

    def _decode(self, path: Path) -> tuple[Dataset, Stored]:
        ds = self.headers.image(path)
        decoded = self.headers(path), np.asarray(pixel_array(ds).reshape(-1, ds.Rows, ds.Columns))
        if self.shared:
            self._decoded[path] = decoded
        return decoded

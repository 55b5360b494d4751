"""What the series room made of a series, as rows for `inspect` and `verify`: a volume each, or what was left out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from voxtell_dicom.errors import Refusal
from voxtell_dicom.model import Assembly, Series, SetAside, Vector, Volume
from voxtell_dicom.series.geometry import GAP
from voxtell_dicom.series.headers import assemble
from voxtell_dicom.series.names import plane_of


@dataclass(frozen=True)
class Row:
    """One line of the report. `shape`: (frames, rows, columns); `spacing_mm`: between frames, rows, columns."""

    study_uid: str
    series_uid: str
    volume: str
    modality: str
    plane: str
    shape: tuple[int, int, int] | None
    spacing_mm: Vector | None
    tilt_degrees: float | None
    status: str  # handled | set_aside | refused
    code: str
    reason: str
    instances: int
    warnings: tuple[str, ...] = ()
    joined_with: tuple[str, ...] = ()  # the other runs of its stack: their masks and its own are one result

    def data(self) -> dict[str, Any]:
        """As JSON-able data."""
        return asdict(self)


def rows_of(
    series: Series, max_gap: float = GAP, frames_of_reference: str = "refuse"
) -> Iterator[tuple[Row, Volume | None]]:
    """The rows of one series, each with its volume where it is one. Never raises Refusal: that is a row, too.

    max_gap, frames_of_reference: as in `assemble`.
    """
    try:
        assembly = assemble(series, max_gap, frames_of_reference)
    except Refusal as refusal:
        everything = tuple(instance.sop_instance_uid for instance in series.instances)
        assembly = Assembly((), (SetAside(refusal.code, str(refusal), everything, refused=True),))
    for volume in assembly.volumes:
        others = [other.name for other in assembly.volumes if volume.stack and other.stack == volume.stack]
        yield replace(volume_row(volume), joined_with=tuple(name for name in others if name != volume.name)), volume
    for item in assembly.set_aside:
        yield aside_row(series, item), None


def volume_row(volume: Volume) -> Row:
    """The row of a volume that is handled."""
    grid = volume.grid
    return Row(
        study_uid=volume.study_uid,
        series_uid=volume.series_uid,
        volume=volume.name,
        modality=volume.modality,
        plane=plane_of(grid.normal),
        shape=grid.shape,
        spacing_mm=grid.spacing_mm,
        tilt_degrees=tilt_degrees(volume),
        status="handled",
        code="",
        reason="",
        instances=len({frame.sop_instance_uid for frame in volume.frames}),
        warnings=volume.warnings,
    )


def aside_row(series: Series, item: SetAside) -> Row:
    """The row of something that is not part of a volume, or was refused."""
    return Row(
        study_uid=series.study_uid,
        series_uid=series.series_uid,
        volume=item.run,
        modality="",
        plane="",
        shape=None,
        spacing_mm=None,
        tilt_degrees=None,
        status="refused" if item.refused else "set_aside",
        code=item.code,
        reason=item.reason,
        instances=max(len(item.uids), 1),
    )


def tilt_degrees(volume: Volume) -> float:
    """The angle between the slice normal and the line through first and last position; 0 where no tilt is undone."""
    if all(frame.shift_px == (0, 0) for frame in volume.frames):
        return 0.0
    along = np.array(volume.frames[-1].position_mm) - np.array(volume.frames[0].position_mm)
    depth = float(along @ np.array(volume.grid.normal))
    return math.degrees(math.atan2(math.sqrt(max(float(along @ along) - depth**2, 0.0)), depth))

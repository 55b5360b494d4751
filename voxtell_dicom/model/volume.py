"""What arrived, and what it turned out to be: series, regular volumes, and what was set aside."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from voxtell_dicom.model.mask import Mask

Vector = tuple[float, float, float]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Instance:
    """One SOP instance as it lies in the spool (or in a folder).

    `digest` is taken over the decoded identity of the dataset, not over its network form (contracts § 1).
    """

    sop_instance_uid: str
    sop_class_uid: str
    series_uid: str
    study_uid: str
    path: Path
    transfer_syntax_uid: str = ""
    digest: str = ""


@dataclass(frozen=True)
class Series:
    """A version of a series: the set of instances that arrived under one Series Instance UID."""

    study_uid: str
    series_uid: str
    version: str  # digest over the sorted SOP Instance UIDs
    instances: tuple[Instance, ...]
    calling_ae: str = ""
    called_ae: str = ""
    incomplete: str = ""  # why the series is thought to be incomplete; "" where it is complete


@dataclass(frozen=True)
class Frame:
    """One source frame of a volume. `number` counts from 1 (always 1 in a single-frame instance)."""

    sop_instance_uid: str
    sop_class_uid: str
    number: int
    path: Path
    position_mm: Vector  # Image Position (Patient): centre of the first voxel
    shift_px: tuple[int, int] = (0, 0)  # whole pixels (row, column) that undo a gantry tilt for inference
    plane: int | None = None  # where the frame lies on the regular grid for inference; None: at its place in `frames`


@dataclass(frozen=True)
class Grid:
    """The source grid of a volume in patient space: (frame, row, column), LPS mm (PS3.3 C.7.6.2.1.1)."""

    shape: tuple[int, int, int]
    origin_mm: Vector
    row_cosine: Vector  # first three values of Image Orientation (Patient): direction of increasing column index
    column_cosine: Vector  # last three: direction of increasing row index
    normal: Vector  # unit vector from frame 0 towards the last frame
    spacing_mm: Vector  # between frames, between rows, between columns


@dataclass(frozen=True)
class ToRas:
    """How source voxels (frame, row, column) become RAS voxels (z, y, x): a permutation, then flips. Exact.

    ``ras = source.transpose(axes)`` and then a flip of each RAS axis whose `flips` entry is true.
    """

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]


@dataclass(frozen=True)
class Volume:
    """One regular stack of frames that can be segmented: geometry and references, no pixels.

    `frames` are ordered along `grid.normal`, from frame 0. `name` says what distinguishes the volume within its
    series ("" where the series is one volume). `key` is the volume key of contracts § 1.

    A stack whose spacing changes is several regular volumes, its runs. Each is segmented for itself; a joined volume
    (`series.joined`) has them as `parts`, and the frames of all: results are made of it. Its `grid` counts all
    frames, with their mean spacing; an array of it there is not.
    """

    study_uid: str
    series_uid: str
    frame_of_reference_uid: str
    modality: str
    name: str
    frames: tuple[Frame, ...]
    grid: Grid
    to_ras: ToRas
    key: str
    warnings: tuple[str, ...] = ()  # "code: sentence"
    keys: dict[str, str] = field(default_factory=dict)  # what distinguishes it: echo_time, b_value, kind …
    stack: str = ""  # names the stack that it is a run of, "" where it is the whole stack
    parts: tuple[Volume, ...] = ()  # of a joined volume, in the order of the frames

    @property
    def runs(self) -> tuple[Volume, ...]:
        """The regular volumes that are segmented: the parts of a joined volume, else the volume itself."""
        return self.parts or (self,)

    def warnings_of(self, code: str) -> tuple[str, ...]:
        """Return the warnings of a code: the word before their colon."""
        return tuple(said for said in self.warnings if said.partition(": ")[0] == code)

    @property
    def frame_mm(self) -> tuple[float, ...]:
        """How much of the stack each frame stands for, along the normal: the spacing; half-way where two runs meet."""
        pieces = [(run.grid.spacing_mm[0], len(run.frames)) for run in self.runs]
        shares = [[spacing] * count for spacing, count in pieces]
        normal = np.array(self.grid.normal)
        last = -1
        for (one, other), (before, after) in zip(pairwise(shares), pairwise(pieces), strict=True):
            last += before[1]
            ends = np.array(self.frames[last].position_mm), np.array(self.frames[last + 1].position_mm)
            gap = float((ends[1] - ends[0]) @ normal)
            if gap <= 1.5 * max(before[0], after[0]):  # else a run between the two is not here
                one[-1] += (gap - before[0]) / 2
                other[0] += (gap - after[0]) / 2
        return tuple(share for some in shares for share in some)

    def millilitres(self, mask: Mask) -> float:
        """The volume of a mask on the source frames."""
        _, rows_mm, columns_mm = self.grid.spacing_mm
        if not self.parts:
            return mask.voxels * self.grid.spacing_mm[0] * rows_mm * columns_mm / 1000
        voxels = mask.crop().sum(axis=(1, 2))
        return float(voxels @ np.array(self.frame_mm[slice(*mask.box[0])])) * rows_mm * columns_mm / 1000

    @property
    def canvas(self) -> tuple[int, int, int]:
        """The source grid as the engine sees it: larger than `grid.shape` where a tilt is undone or slices lack."""
        if self.parts:
            raise ValueError("a joined volume has no grid of its own: take its parts")
        count, rows, columns = self.grid.shape
        if self.frames and self.frames[-1].plane is not None:
            count = self.frames[-1].plane + 1
        down = max((frame.shift_px[0] for frame in self.frames), default=0)
        along = max((frame.shift_px[1] for frame in self.frames), default=0)
        return count, rows + down, columns + along

    @property
    def planes(self) -> tuple[int, ...]:
        """Return where each frame lies along the first axis of the canvas."""
        if self.parts:
            raise ValueError("a joined volume has no grid of its own: take its parts")
        return tuple(index if frame.plane is None else frame.plane for index, frame in enumerate(self.frames))

    @property
    def shape_zyx(self) -> tuple[int, int, int]:
        """Shape of the RAS array."""
        a, b, c = self.to_ras.axes
        shape = self.canvas
        return shape[a], shape[b], shape[c]

    @property
    def spacing_zyx_mm(self) -> Vector:
        """Spacing of the RAS array's axes."""
        if self.parts:
            raise ValueError("a joined volume has no grid of its own: take its parts")
        a, b, c = self.to_ras.axes
        spacing = self.grid.spacing_mm
        return spacing[a], spacing[b], spacing[c]


@dataclass(frozen=True)
class SetAside:
    """Something in a series that is not part of a volume, or that was refused; the rest is still processed."""

    code: str
    reason: str
    uids: tuple[str, ...] = ()
    refused: bool = False
    run: str = ""  # the name of the run that it is, whose stack goes on without it
    stack: str = ""  # the stack of that run, as in Volume
    rule: str = ""  # the name of the rule that refuses it, where others may take it


@dataclass(frozen=True)
class Assembly:
    """What a series turned out to be: its volumes, and what was set aside or refused, each with the reason."""

    volumes: tuple[Volume, ...]
    set_aside: tuple[SetAside, ...] = ()


def on_source_axes(array_zyx: npt.NDArray[Any], ras: ToRas) -> npt.NDArray[Any]:
    """Return an array on the RAS grid as a view along (frame, row, column) of its canvas."""
    flipped = array_zyx[tuple(slice(None, None, -1 if flip else 1) for flip in ras.flips)]
    return flipped.transpose(np.argsort(ras.axes))


def ras_axes(volume: Volume) -> tuple[FloatArray, FloatArray]:
    """Return origin and axes of the RAS grid, LPS mm: the centre of voxel (z, y, x) is ``origin + axes @ (z, y, x)``.

    axes: 3 × 3, its columns the steps along z, y and x. A tilted volume's frames lie on it to within half a pixel.
    """
    grid = volume.grid
    directions = np.array((grid.normal, grid.column_cosine, grid.row_cosine), float).T * np.array(grid.spacing_mm)
    down, along = volume.frames[0].shift_px
    origin = np.array(grid.origin_mm) - directions[:, 1] * down - directions[:, 2] * along
    axes = directions[:, volume.to_ras.axes].copy()
    for axis, flip in enumerate(volume.to_ras.flips):
        if flip:
            origin = origin + axes[:, axis] * (volume.shape_zyx[axis] - 1)
            axes[:, axis] *= -1
    return origin, axes

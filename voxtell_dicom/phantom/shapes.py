"""Solids in patient space, and the lattices on which they are sampled. LPS, millimetres, float64.

A solid answers whether points lie inside, for coordinate arrays that broadcast against one another, so that an
axis-parallel lattice costs one short array per axis and no array of points.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from voxtell_dicom.model import BoolArray, Grid, Vector, Volume

Floats = npt.NDArray[np.float64]


class Solid(Protocol):
    """A closed set of points of patient space."""

    def contains(self, x: Floats, y: Floats, z: Floats) -> BoolArray:
        """Return which points lie inside; x, y, z broadcast."""

    def box(self) -> tuple[Vector, Vector]:
        """Lowest and highest corner of a box that holds the solid."""


@dataclass(frozen=True)
class Ellipsoid:
    """A turned ellipsoid: `turn_deg` rotates about the x, then y, then z axis through the centre."""

    center_mm: Vector
    semi_mm: Vector
    turn_deg: Vector = (0.0, 0.0, 0.0)

    def contains(self, x: Floats, y: Floats, z: Floats) -> BoolArray:
        """See Solid."""
        dx, dy, dz = x - self.center_mm[0], y - self.center_mm[1], z - self.center_mm[2]
        if not any(self.turn_deg):
            local = (dx, dy, dz)
        else:
            turn = rotation(self.turn_deg)
            local = tuple(turn[0, i] * dx + turn[1, i] * dy + turn[2, i] * dz for i in range(3))
        parts = [(value / semi) ** 2 for value, semi in zip(local, self.semi_mm, strict=True)]
        inside: BoolArray = parts[0] + parts[1] + parts[2] <= 1.0
        return inside

    def box(self) -> tuple[Vector, Vector]:
        """See Solid."""
        half = np.sqrt(((rotation(self.turn_deg) * np.asarray(self.semi_mm)) ** 2).sum(axis=1))
        center = np.asarray(self.center_mm)
        return vector(center - half), vector(center + half)


@dataclass(frozen=True)
class Column:
    """A bent column along z with elliptic sections and rounded ends.

    At height z its centre is (x + bend_x · sin(wave), y + bend_y · sin(wave)), where wave = 2π (z − z₀) / wave_mm. The
    radii swell by the share `ripple`, once every `ripple_mm`. `roundness` is the power of the ends: 2 is an
    ellipsoid, 8 nearly a cylinder.
    """

    center_mm: Vector
    semi_mm: Vector
    bend_mm: tuple[float, float] = (0.0, 0.0)
    wave_mm: float = 400.0
    ripple: float = 0.0
    ripple_mm: float = 30.0
    roundness: int = 8

    def contains(self, x: Floats, y: Floats, z: Floats) -> BoolArray:
        """See Solid."""
        height = z - self.center_mm[2]
        wave = np.sin(height * (2 * math.pi / self.wave_mm))
        swell = 1.0 + self.ripple * np.cos(height * (2 * math.pi / self.ripple_mm)) if self.ripple else 1.0
        room = (1.0 - np.abs(height / self.semi_mm[2]) ** self.roundness) * swell**2
        across = ((x - self.center_mm[0] - self.bend_mm[0] * wave) / self.semi_mm[0]) ** 2
        along = ((y - self.center_mm[1] - self.bend_mm[1] * wave) / self.semi_mm[1]) ** 2
        inside: BoolArray = across + along <= room
        return inside

    def box(self) -> tuple[Vector, Vector]:
        """See Solid."""
        grow = 1.0 + abs(self.ripple)
        half = np.array(
            [
                self.semi_mm[0] * grow + abs(self.bend_mm[0]),
                self.semi_mm[1] * grow + abs(self.bend_mm[1]),
                self.semi_mm[2],
            ]
        )
        center = np.asarray(self.center_mm)
        return vector(center - half), vector(center + half)

    def shrunk(self, by_mm: float) -> Column:
        """The same column, thinner by `by_mm` on every side."""
        a, b, c = self.semi_mm
        return replace(self, semi_mm=(a - by_mm, b - by_mm, c - by_mm))


@dataclass(frozen=True)
class Lattice:
    """Sample points in patient space: point(i, j, k) = origin + i·steps[0] + j·steps[1] + k·steps[2]."""

    origin_mm: Vector
    steps_mm: tuple[Vector, Vector, Vector]
    shape: tuple[int, int, int]

    @classmethod
    def of_grid(cls, grid: Grid) -> Lattice:
        """The voxel centres of a source grid (frame, row, column)."""
        between_frames, between_rows, between_columns = grid.spacing_mm
        return cls(
            grid.origin_mm,
            (
                vector(np.asarray(grid.normal) * between_frames),
                vector(np.asarray(grid.column_cosine) * between_rows),
                vector(np.asarray(grid.row_cosine) * between_columns),
            ),
            grid.shape,
        )

    @classmethod
    def of_volume(cls, volume: Volume) -> Lattice:
        """The voxel centres of a volume's frames, which a gantry tilt shears against the grid's normal."""
        lattice = cls.of_grid(volume.grid)
        if len(volume.frames) < 2:
            return lattice
        first, last = (np.asarray(volume.frames[i].position_mm) for i in (0, -1))
        step = vector((last - first) / (len(volume.frames) - 1))
        return replace(lattice, origin_mm=vector(first), steps_mm=(step, *lattice.steps_mm[1:]))

    def within(self, box: tuple[Vector, Vector]) -> tuple[slice, slice, slice] | None:
        """The part of the lattice that may lie in a box of patient space; None where it surely does not."""
        corners = np.array(list(itertools.product(*zip(*box, strict=True)))) - np.asarray(self.origin_mm)
        indices = corners @ np.linalg.inv(np.asarray(self.steps_mm))
        low = np.maximum(np.floor(indices.min(axis=0) - 1e-6).astype(int), 0)
        high = np.minimum(np.ceil(indices.max(axis=0) + 1e-6).astype(int) + 1, self.shape)
        if (low >= high).any():
            return None
        return slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])

    def coordinates(self, part: tuple[slice, slice, slice]) -> tuple[Floats, Floats, Floats]:
        """Patient coordinates x, y, z of a part, as arrays that broadcast to its shape."""
        index = [np.arange(s.start, s.stop, dtype=np.float64) for s in part]
        result = []
        for axis in range(3):
            total: Any = self.origin_mm[axis]
            for dimension in range(3):
                step = self.steps_mm[dimension][axis]
                if step:
                    shape = [1, 1, 1]
                    shape[dimension] = -1
                    total = total + (index[dimension] * step).reshape(shape)
            result.append(np.asarray(total, dtype=np.float64))
        return result[0], result[1], result[2]


def rotation(turn_deg: Vector) -> Floats:
    """Rotation matrix about x, then y, then z (degrees, right-handed)."""
    (sx, sy, sz), (cx, cy, cz) = np.sin(np.deg2rad(turn_deg)), np.cos(np.deg2rad(turn_deg))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    turned: Floats = about_z @ about_y @ about_x
    return turned


def vector(values: Any) -> Vector:
    """Three plain floats, from any sequence of three numbers."""
    x, y, z = (float(v) for v in values)
    return x, y, z

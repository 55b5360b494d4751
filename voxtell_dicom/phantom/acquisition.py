"""How the phantom is scanned: plane, order, spacing, obliquity, patient position; and the voxel centres it gives."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from voxtell_dicom.model import Grid, Vector
from voxtell_dicom.phantom.anatomy import Anatomy
from voxtell_dicom.phantom.shapes import Floats, Lattice, rotation, vector

Plane = Literal["axial", "sagittal", "coronal"]
Position = Literal["HFS", "HFP", "FFS", "FFP"]

# Row and column cosines as a scanner shows a patient who lies head first and supine.
_COSINES: dict[str, tuple[Vector, Vector]] = {
    "axial": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
    "sagittal": ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0)),
    "coronal": ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0)),
}
# Signs of the patient axes as the scanner sees them in each Patient Position (PS3.3 C.7.3.1.1.2).
_SIGNS: dict[str, Vector] = {
    "HFS": (1.0, 1.0, 1.0),
    "HFP": (-1.0, -1.0, 1.0),
    "FFS": (-1.0, 1.0, -1.0),
    "FFP": (1.0, -1.0, -1.0),
}


@dataclass(frozen=True)
class Acquisition:
    """The settings of a scan. Frames are counted along the stack, from 0.

    shape: frames, rows, columns; None takes what holds the whole body, with square images.
    turn_deg: obliquity, a rotation of the image axes about the patient's x, then y, then z.
    descending: the stack runs against the normal (row × column) instead of along it.
    tilt_deg: gantry tilt: images lean about their row axis while the table moves straight on.
    missing, duplicated: frames that are not written, or written a second time under another SOP Instance UID.
    shuffled: file names and Instance Numbers do not follow the position.
    """

    plane: Plane = "axial"
    shape: tuple[int, int, int] | None = None
    slice_spacing_mm: float = 4.0
    pixel_spacing_mm: tuple[float, float] = (4.0, 4.0)
    turn_deg: Vector = (0.0, 0.0, 0.0)
    descending: bool = False
    position: Position = "HFS"
    margin_mm: float = 10.0
    shuffled: bool = True
    tilt_deg: float = 0.0
    missing: tuple[int, ...] = ()
    duplicated: tuple[int, ...] = ()
    series_number: int = 1
    description: str = ""

    @property
    def identity(self) -> str:
        """All parameters as canonical text: UIDs are made from it."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    def directions(self) -> tuple[Floats, Floats, Floats]:
        """Unit vectors (LPS): from frame to frame (the table's way), row cosine, column cosine."""
        signs = np.asarray(_SIGNS[self.position])
        turn = rotation(self.turn_deg)
        row, column = (turn @ (signs * np.asarray(cosine)) for cosine in _COSINES[self.plane])
        along = np.cross(row, column) * (-1 if self.descending else 1)
        tilt = np.deg2rad(self.tilt_deg)
        column = np.cos(tilt) * column + np.sin(tilt) * np.cross(row, column)
        return along, row, column

    def lattice(self, anatomy: Anatomy) -> Lattice:
        """Voxel centres (frame, row, column), centred on the body. `slice_spacing_mm` is measured along the normal."""
        along, row, column = self.directions()
        steps = (
            along * (self.slice_spacing_mm / np.cos(np.deg2rad(self.tilt_deg))),
            column * self.pixel_spacing_mm[0],
            row * self.pixel_spacing_mm[1],
        )
        low, high = (np.asarray(corner) for corner in anatomy.body.box())
        shape = self.shape or self._covering(high - low, steps)
        middle = sum((np.asarray(step) * (n - 1) / 2 for step, n in zip(steps, shape, strict=True)), np.zeros(3))
        origin = (low + high) / 2 - middle
        # As many decimals as a DICOM decimal string holds, so that what is written is what was sampled.
        return Lattice(vector(origin.round(6)), (vector(steps[0]), vector(steps[1]), vector(steps[2])), shape)

    def grid(self, anatomy: Anatomy) -> Grid:
        """The same as a source grid of the model; of a tilted gantry, the grid of the frames' normal (no shear)."""
        lattice = self.lattice(anatomy)
        _, row, column = self.directions()
        normal = np.cross(row, column) * (-1 if self.descending else 1)
        spacing = (self.slice_spacing_mm, *self.pixel_spacing_mm)
        return Grid(lattice.shape, lattice.origin_mm, vector(row), vector(column), vector(normal), spacing)

    def _covering(self, extent_mm: Floats, steps: tuple[Floats, Floats, Floats]) -> tuple[int, int, int]:
        sizes = np.linalg.norm(np.asarray(steps), axis=1)
        units = np.asarray(steps) / sizes[:, None]
        reach = np.abs(units) @ extent_mm + 2 * self.margin_mm
        frames, rows, columns = (int(np.ceil(r / s)) for r, s in zip(reach, sizes, strict=True))
        frames += int(np.ceil(rows * sizes[1] * abs(np.sin(np.deg2rad(self.tilt_deg))) / sizes[0]))
        # Multiples of 8, as scanners' matrices are: some viewers misread bit masks of other sizes (docs/viewers.md).
        rows, columns = (-(-count // 8) * 8 for count in (rows, columns))
        side = max(rows, columns)
        return (frames, side, side) if sizes[1] == sizes[2] else (frames, rows, columns)


def demo_acquisition(seed: int = 0, plane: Plane = "axial") -> Acquisition:
    """A scan that the bundled model segments in seconds and well: the whole torso at 3.8–4.2 mm, varied by the seed."""
    rng = np.random.default_rng([41, seed])
    pixel, between = (round(float(v), 2) for v in rng.uniform(3.8, 4.2, 2))
    return Acquisition(plane=plane, pixel_spacing_mm=(pixel, pixel), slice_spacing_mm=between)

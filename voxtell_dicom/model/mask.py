"""What the engine finds, as a bounding box and bits (or bytes): never as a dense array of the whole grid."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict

Range = tuple[int, int]
Box = tuple[Range, Range, Range]
BoolArray = npt.NDArray[np.bool_]
ByteArray = npt.NDArray[np.uint8]
PROBABILITY_FLOOR = 0.05  # what is less probable counts as nothing in a probability map


class Boxed:
    """What lies in a bounding box of a grid: half-open ranges along the three axes."""

    box: Box

    @property
    def box_shape(self) -> tuple[int, int, int]:
        """Shape of the bounding box."""
        a, b, c = self.box
        return a[1] - a[0], b[1] - b[0], c[1] - c[0]

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """The bounding box as an index into an array on the whole grid."""
        a, b, c = self.box
        return slice(*a), slice(*b), slice(*c)


@dataclass(frozen=True)
class Mask(Boxed):
    """A binary mask as its bounding box and bits, on a grid known from the context. An empty one has an empty box."""

    __pydantic_config__ = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    box: Box  # half-open ranges along the three axes
    packed_bits: bytes  # numpy.packbits over the box in C order
    voxels: int

    @classmethod
    def from_array(cls, array: npt.NDArray[Any]) -> Mask:
        """array: bool or 0/1, any 3-D grid."""
        solid = array.astype(bool, copy=False)
        ranges: list[Range] = []
        for axis in range(3):
            other = tuple(i for i in range(3) if i != axis)
            hits = np.flatnonzero(solid.any(axis=other))
            if hits.size == 0:
                return cls(((0, 0), (0, 0), (0, 0)), b"", 0)
            ranges.append((int(hits[0]), int(hits[-1]) + 1))
        a, b, c = ranges
        crop = solid[a[0] : a[1], b[0] : b[1], c[0] : c[1]]
        return cls((a, b, c), np.packbits(crop).tobytes(), int(np.count_nonzero(crop)))

    @classmethod
    def concatenated(cls, masks: Sequence[Mask], frames: Sequence[int]) -> Mask:
        """Masks on pieces of a grid that follow one another along the first axis, as one mask on the whole.

        frames: the size of each piece along that axis.
        """
        box, values = _side_by_side(masks, frames)
        return cls(box, np.packbits(values).tobytes(), sum(mask.voxels for mask in masks))

    def crop(self) -> BoolArray:
        """The mask inside its bounding box, bool, of shape `box_shape`."""
        shape = self.box_shape
        count = int(np.prod(shape))
        bits = np.unpackbits(np.frombuffer(self.packed_bits, np.uint8), count=count)
        return bits.view(np.bool_).reshape(shape)  # 0 and 1 already: no second copy

    def plane(self, index: int) -> BoolArray:
        """The mask at one place along the first axis, (row, column) of its box. The rest stays packed."""
        (first, stop), (top, bottom), (left, right) = self.box
        rows, columns = bottom - top, right - left
        if not first <= index < stop:
            return np.zeros((rows, columns), bool)
        start, count = (index - first) * rows * columns, rows * columns
        packed = np.frombuffer(self.packed_bits, np.uint8)[start // 8 : (start + count + 7) // 8]
        return np.unpackbits(packed)[start % 8 : start % 8 + count].view(np.bool_).reshape(rows, columns)

    def occupied(self) -> list[int]:
        """The places along the first axis at which the mask has voxels."""
        frames, rows, columns = self.box_shape
        first, stop = self.box[0]
        if rows * columns % 8:
            return [index for index in range(first, stop) if self.plane(index).any()]
        planes = np.frombuffer(self.packed_bits, np.uint8).reshape(frames, rows * columns // 8)  # whole bytes each
        return [first + int(index) for index in np.flatnonzero(planes.any(axis=1))]

    def within(self, box: Box) -> BoolArray:
        """The mask inside another box, bool, of that box's shape."""
        cut: BoolArray = np.zeros([stop - start for start, stop in box], bool)
        common = [(max(a[0], b[0]), min(a[1], b[1])) for a, b in zip(box, self.box, strict=True)]
        if self.voxels and all(start < stop for start, stop in common):
            own = tuple(slice(a - low, b - low) for (a, b), (low, _) in zip(common, self.box, strict=True))
            there = tuple(slice(a - low, b - low) for (a, b), (low, _) in zip(common, box, strict=True))
            cut[there] = self.crop()[own]
        return cut

    def to_array(self, shape: tuple[int, int, int]) -> BoolArray:
        """The mask on the whole grid, bool, of the given shape."""
        array: BoolArray = np.zeros(shape, bool)
        if self.voxels:
            array[self.slices] = self.crop()
        return array


@dataclass(frozen=True)
class Probabilities(Boxed):
    """The probability of each voxel as its bounding box and bytes, 0 to 255 for 0 to 1, on a grid as of a mask.

    Below `PROBABILITY_FLOOR` it is 0.
    """

    __pydantic_config__ = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    box: Box
    packed: bytes  # zlib over the uint8 values in the box, in C order

    @classmethod
    def of(cls, box: Box, values: ByteArray) -> Probabilities:
        """values: uint8 in `box`. The box is made tight."""
        inner = Mask.from_array(values)
        z, y, x = ((low + a, low + b) for (low, _), (a, b) in zip(box, inner.box, strict=True))
        tight = (z, y, x) if inner.voxels else inner.box
        return cls(tight, zlib.compress(np.ascontiguousarray(values[inner.slices]).tobytes(), 1))

    def crop(self) -> ByteArray:
        """The values inside the box, uint8, of shape `box_shape`."""
        return np.frombuffer(zlib.decompress(self.packed), np.uint8).reshape(self.box_shape)

    def occupied(self) -> list[int]:
        """As `Mask.occupied`."""
        return self.above_zero().occupied()

    def above_zero(self) -> Mask:
        """Return where the map is not 0."""
        values = self.crop()
        return Mask(self.box, np.packbits(values).tobytes(), int(np.count_nonzero(values)))

    def to_array(self, shape: tuple[int, int, int]) -> ByteArray:
        """The values on the whole grid, uint8, of the given shape."""
        array: ByteArray = np.zeros(shape, np.uint8)
        array[self.slices] = self.crop()
        return array

    @classmethod
    def concatenated(cls, pieces: Sequence[Probabilities], frames: Sequence[int]) -> Probabilities:
        """As `Mask.concatenated`."""
        return cls.of(*_side_by_side(pieces, frames))


def _side_by_side(
    pieces: Sequence[Mask] | Sequence[Probabilities], frames: Sequence[int]
) -> tuple[Box, npt.NDArray[Any]]:
    """The box round all pieces, which follow one another along the first axis, and the values in it."""
    starts = np.cumsum([0, *frames[:-1]]).tolist()
    crops = [piece.crop() for piece in pieces]
    boxes = [
        ((piece.box[0][0] + start, piece.box[0][1] + start), *piece.box[1:])
        for piece, start in zip(pieces, starts, strict=True)
    ]
    filled = [(box, crop) for box, crop in zip(boxes, crops, strict=True) if crop.size]
    if not filled:
        return pieces[0].box, crops[0]
    low = [min(box[axis][0] for box, _ in filled) for axis in range(3)]
    high = [max(box[axis][1] for box, _ in filled) for axis in range(3)]
    values = np.zeros(np.subtract(high, low), crops[0].dtype)
    for box, crop in filled:
        values[tuple(slice(a - start, b - start) for (a, b), start in zip(box, low, strict=True))] = crop
    (a, b, c), (d, e, f) = low, high
    return ((a, d), (b, e), (c, f)), values

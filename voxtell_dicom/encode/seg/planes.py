"""Frames of one byte a pixel: segments one after the other, or all of them in a label map. One plane is held at a time.

What a segment holds comes as its bounding box: a mask's 0 and 1, or a probability map's 0 to 255.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from voxtell_dicom.errors import GridMismatch
from voxtell_dicom.model import Box

FULL = 255  # Maximum Fractional Value
POLICY = "Where segments overlapped, the smaller is kept"
Bytes = npt.NDArray[np.uint8]
Shape = tuple[int, int, int]


class Layer(Protocol):
    """A segment on the source grid (frame, row, column)."""

    @property
    def box(self) -> Box:
        """Half-open ranges along the three axes."""

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """The same as an index."""

    def crop(self) -> npt.NDArray[Any]:
        """Its values inside the box: bool, or uint8."""

    def occupied(self) -> list[int]:
        """The frames with voxels."""


def check_fits(layers: Sequence[Layer], shape: Shape) -> None:
    """Raises GridMismatch where one does not lie within the source grid of `shape`."""
    for layer in layers:
        if any(not 0 <= start < stop <= size for (start, stop), size in zip(layer.box, shape, strict=True)):
            raise GridMismatch(f"mask box {layer.box} does not lie within the source grid {shape}")


def occupied(layers: Sequence[Layer], shape: Shape, *, empty_frames: bool = False) -> list[tuple[int, int]]:
    """(segment, source frame), both from 0, of every frame with voxels, or of every frame there is."""
    if empty_frames:
        return [(segment, frame) for segment in range(len(layers)) for frame in range(shape[0])]
    return [(segment, frame) for segment, layer in enumerate(layers) for frame in layer.occupied()]


def segment_planes(layers: Sequence[Layer], index: Sequence[tuple[int, int]], shape: Shape) -> Iterator[Bytes]:
    """The frames of `index` (as `occupied` gives them): 0 to 255, a mask's voxels 255."""
    last, crop = -1, np.zeros((0, 0, 0), np.uint8)
    for segment, frame in index:
        if segment != last:
            last, crop = segment, layers[segment].crop()
            if crop.dtype == bool:
                crop = crop.view(np.uint8) * np.uint8(FULL)
        yield _laid(layers[segment], crop, frame, shape)


def _laid(layer: Layer, crop: Bytes, frame: int, shape: Shape) -> Bytes:
    plane: Bytes = np.zeros(shape[1:], np.uint8)
    first, stop = layer.box[0]
    if first <= frame < stop:
        plane[layer.slices[1:]] = crop[frame - first]
    return plane


def label_planes(layers: Sequence[Layer], sizes: Sequence[int], frames: Sequence[int], shape: Shape) -> Iterator[Bytes]:
    """The label map of each of `frames`: segment numbers from 1; larger segments (`sizes`) are laid down first."""
    crops = [layer.crop() for layer in layers]
    order = sorted(range(len(layers)), key=lambda number: -sizes[number])
    for frame in frames:
        plane: Bytes = np.zeros(shape[1:], np.uint8)
        for number in order:
            first, stop = layers[number].box[0]
            if first <= frame < stop:
                plane[layers[number].slices[1:]][crops[number][frame - first] > 0] = number + 1
        yield plane

"""Frames of one byte a pixel: segments one after the other, or all of them in a label map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from voxtell_dicom.errors import GridMismatch
from voxtell_dicom.model import Mask, Probabilities

FULL = 255  # Maximum Fractional Value
POLICY = "Where segments overlapped, the smaller is kept"
Bytes = npt.NDArray[np.uint8]
Shape = tuple[int, int, int]
Layer = Mask | Probabilities  # a segment on the source grid (frame, row, column)


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
    """The frames of `index` (as `occupied` gives them): 0 to 255, a mask's voxels 255. One segment is held at once."""
    last, crop = -1, np.zeros((0, 0, 0), np.uint8)
    for segment, frame in index:
        layer = layers[segment]
        if segment != last:
            last = segment
            crop = layer.crop().view(np.uint8) * np.uint8(FULL) if isinstance(layer, Mask) else layer.crop()
        plane: Bytes = np.zeros(shape[1:], np.uint8)
        first, stop = layer.box[0]
        if first <= frame < stop:
            plane[layer.slices[1:]] = crop[frame - first]
        yield plane


def label_planes(masks: Sequence[Mask], frames: Sequence[int], shape: Shape) -> Iterator[Bytes]:
    """The label map of each of `frames`: segment numbers from 1; larger segments are laid down first."""
    order = sorted(range(len(masks)), key=lambda number: -masks[number].voxels)
    for frame in frames:
        plane: Bytes = np.zeros(shape[1:], np.uint8)
        for number in order:
            plane[masks[number].slices[1:]][masks[number].plane(frame)] = number + 1
        yield plane

"""Source frames to the RAS array that the engine takes, and masks back to the frames: exact, nothing resampled.

The array is that of nnU-Net's NibabelIOWithReorient on dcm2niix's NIfTI of the same series: axes (z, y, x) towards
Superior, Anterior, Right. A gantry tilt is undone by moving every frame by whole pixels on a larger canvas.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from voxtell_dicom.dicom.headers import HeaderSource
from voxtell_dicom.dicom.pixels import decode, digest_of
from voxtell_dicom.dicom.rescale import Rescale
from voxtell_dicom.errors import GridMismatch, Refusal
from voxtell_dicom.model import Box, Mask, Probabilities, Volume, canonical_digest, on_source_axes

IDENTITY = Rescale()
THREADS = max(2, min(8, os.cpu_count() or 1))
FloatArray = npt.NDArray[np.float32]


def to_ras(volume: Volume) -> FloatArray:
    """Return the voxel values of a volume: float32 (z, y, x), C-contiguous, RAS+, rescaled frame by frame (HU for CT).

    Where a tilt was undone, what lies outside of the frames has the lowest value of the volume.
    Raises Refusal (``pixels``, ``rescale``, ``frame-size``) where a frame cannot be decoded.
    """
    return _decoded(volume, None, with_digests=False)[0]


def load_volume(volume: Volume, headers: HeaderSource | None = None) -> tuple[FloatArray, Volume]:
    """`to_ras`, and the volume with its key (contracts § 1), made of the pixels in the same pass."""
    array, digests = _decoded(volume, headers, with_digests=True)
    return array, replace(volume, key=_key(volume, digests))


def with_key(volume: Volume) -> Volume:
    """Return the volume with its key: SHA-256 over the sorted (SOP Instance UID, frame number, pixel digest)."""
    digests: dict[int, str] = {}
    for path, indices in _by_file(volume):
        numbers = [volume.frames[index].number for index in indices]
        for index, (stored, _) in zip(indices, decode(path, numbers), strict=True):
            digests[index] = digest_of(stored)
    return replace(volume, key=_key(volume, digests))


def to_frames(mask: Mask, volume: Volume) -> Mask:
    """Put a mask given on the RAS grid back on the source frames, voxel for voxel.

    mask: on (z, y, x) of `volume.shape_zyx`. Returns a mask on (frame, row, column) of `volume.grid.shape`, frames in
    the order of `volume.frames`; voxels of the canvas outside of a tilted volume's frames are dropped.
    Raises GridMismatch where the mask does not fit the volume. No resampling: PS3.3 C.7.6.2.1.1.
    """
    _check_fits(mask, volume.shape_zyx)
    if not mask.voxels:
        return mask
    crop, box = _on_frames(mask.crop(), mask.box, volume)
    if _is_shifted(volume):
        tight = Mask.from_array(crop)
        return replace(tight, box=_moved(tight.box, box)) if tight.voxels else tight
    return Mask(box, np.packbits(np.ascontiguousarray(crop)).tobytes(), mask.voxels)


def probabilities_to_frames(probabilities: Probabilities, volume: Volume) -> Probabilities:
    """Put a probability map on the RAS grid back on the source frames: `to_frames`. Raises GridMismatch."""
    _check_within(probabilities.box, volume.shape_zyx)
    if not probabilities.box[0][1]:
        return probabilities
    crop, box = _on_frames(probabilities.crop(), probabilities.box, volume)
    return Probabilities.of(box, crop)


def all_to_frames(masks: Sequence[Mask], volume: Volume) -> Mask:
    """Put masks, one for each of `volume.runs` and on its RAS grid, back on all source frames: `to_frames` of each."""
    back = [to_frames(mask, run) for mask, run in zip(masks, volume.runs, strict=True)]
    return Mask.concatenated(back, [len(run.frames) for run in volume.runs])


def all_probabilities_to_frames(maps: Sequence[Probabilities], volume: Volume) -> Probabilities:
    """Put probability maps of all runs back on all source frames: `probabilities_to_frames` of each."""
    back = [probabilities_to_frames(each, run) for each, run in zip(maps, volume.runs, strict=True)]
    return Probabilities.concatenated(back, [len(run.frames) for run in volume.runs])


def _on_frames(crop: npt.NDArray[Any], box: Box, volume: Volume) -> tuple[npt.NDArray[Any], Box]:
    """What lies in a box of the RAS grid, in a box of the source frames; that is not tight where a tilt is undone."""
    ras = volume.to_ras
    flipped = [
        (size - stop, size - start) if flip else (start, stop)
        for (start, stop), size, flip in zip(box, volume.shape_zyx, ras.flips, strict=True)
    ]
    back = np.argsort(ras.axes)
    turned = (flipped[back[0]], flipped[back[1]], flipped[back[2]])
    crop = on_source_axes(crop, ras)
    return _unshifted(crop, turned, volume) if _is_shifted(volume) else (crop, turned)


def _is_shifted(volume: Volume) -> bool:
    """Return True if frames lie elsewhere on the canvas than on the source grid: tilted or bridged slices."""
    return volume.canvas != volume.grid.shape or volume.planes != tuple(range(len(volume.frames)))


def _moved(inner: Box, outer: Box) -> Box:
    z, y, x = ((low + a, low + b) for (low, _), (a, b) in zip(outer, inner, strict=True))
    return z, y, x


def _unshifted(crop: npt.NDArray[Any], box: Box, volume: Volume) -> tuple[npt.NDArray[Any], Box]:
    """Whole frames of those that the box meets, each moved back, and where they lie."""
    (first, last), (top, bottom), (left, right) = box
    rows, columns = volume.grid.shape[1:]
    planes = volume.planes
    first_frame, last_frame = bisect_left(planes, first), bisect_left(planes, last)
    frames = np.zeros((last_frame - first_frame, rows, columns), crop.dtype)
    for index in range(first_frame, last_frame):
        down, along = volume.frames[index].shift_px
        r0, r1 = max(top - down, 0), min(bottom - down, rows)
        c0, c1 = max(left - along, 0), min(right - along, columns)
        if r0 < r1 and c0 < c1:
            piece = crop[
                planes[index] - first, r0 + down - top : r1 + down - top, c0 + along - left : c1 + along - left
            ]
            frames[index - first_frame, r0:r1, c0:c1] = piece
    return frames, ((first_frame, last_frame), (0, rows), (0, columns))


def _check_within(box: Box, shape: tuple[int, int, int]) -> None:
    if not all(0 <= start <= stop <= size for (start, stop), size in zip(box, shape, strict=True)):
        raise GridMismatch(f"a mask with box {box} does not fit a grid of {shape}")


def _check_fits(mask: Mask, shape: tuple[int, int, int]) -> None:
    _check_within(mask.box, shape)
    size = int(np.prod(mask.box_shape))
    if len(mask.packed_bits) != (size + 7) // 8 and mask.voxels:
        raise GridMismatch(
            f"a mask with box {mask.box} has {len(mask.packed_bits)} bytes, {(size + 7) // 8} are needed"
        )


def _by_file(volume: Volume) -> Iterable[tuple[Path, list[int]]]:
    files: dict[Path, list[int]] = {}
    for index, frame in enumerate(volume.frames):
        files.setdefault(frame.path, []).append(index)
    return files.items()


def _key(volume: Volume, digests: dict[int, str]) -> str:
    parts = [(frame.sop_instance_uid, frame.number, digests[index]) for index, frame in enumerate(volume.frames)]
    return canonical_digest([list(part) for part in sorted(parts)])


def _decoded(volume: Volume, headers: HeaderSource | None, *, with_digests: bool) -> tuple[FloatArray, dict[int, str]]:
    target = np.empty(volume.shape_zyx, np.float32)
    source = on_source_axes(target, volume.to_ras)  # the same memory
    rows, columns = volume.grid.shape[1:]
    planes = volume.planes
    digests: dict[int, str] = {}
    without: list[int] = []  # frames of which no rescale is stated
    changed: list[int] = []  # frames whose rescale changes their values

    def fill(item: tuple[Path, list[int]]) -> None:
        path, indices = item
        frames = [volume.frames[index] for index in indices]
        for index, frame, (stored, rescale) in zip(
            indices, frames, decode(path, [f.number for f in frames], headers), strict=True
        ):
            if stored.shape != (rows, columns):
                uid = frame.sop_instance_uid
                raise Refusal(
                    "frame-size", f"{uid}: a decoded frame has {stored.shape}, {(rows, columns)} are stated", uid
                )
            down, along = frame.shift_px
            if not rescale.stated:
                without.append(index)
            elif rescale != IDENTITY:
                changed.append(index)
            rescale.into(stored, source[planes[index], down : down + rows, along : along + columns])
            if with_digests:
                digests[index] = digest_of(stored)

    with ThreadPoolExecutor(THREADS, thread_name_prefix="decode") as pool:
        for _ in pool.map(fill, _by_file(volume)):
            pass
    if without and changed:
        uid, other = (volume.frames[min(some)].sop_instance_uid for some in (without, changed))
        words = f"Rescale Slope (0028,1053) is missing, where {other} of the same volume has one"
        raise Refusal("rescale", f"{uid}: {words}", uid)
    if volume.canvas != volume.grid.shape:
        _fill_outside(volume, source)
        _interpolate(planes, source)
    return target, digests


def _fill_outside(volume: Volume, source: FloatArray) -> None:
    """Give what no frame covers the lowest value of the frames."""
    rows, columns = volume.grid.shape[1:]
    shifts = [frame.shift_px for frame in volume.frames]
    covered = [source[plane] for plane in volume.planes]
    inside = [plane[d : d + rows, a : a + columns] for plane, (d, a) in zip(covered, shifts, strict=True)]
    lowest = min(float(part.min()) for part in inside)
    for plane, (down, along) in zip(covered, shifts, strict=True):
        plane[:down] = lowest
        plane[down + rows :] = lowest
        plane[down : down + rows, :along] = lowest
        plane[down : down + rows, along + columns :] = lowest


def _interpolate(planes: tuple[int, ...], source: FloatArray) -> None:
    """Give the planes that no frame lies on what lies between their neighbours (for the model only)."""
    for below, above in pairwise(planes):
        for plane in range(below + 1, above):
            share = np.float32((plane - below) / (above - below))
            source[plane] = (1 - share) * source[below] + share * source[above]

"""Frames of a BINARY segmentation, made from bounding boxes and bits: packed pixels and per-frame functional groups.

Nothing dense is ever held: a mask is unpacked inside its box only, and each frame is written as the bits it becomes.
Frames come segment by segment, each in the order of the volume's frames, and only where the mask has voxels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import numpy as np
import numpy.typing as npt

from voxtell_dicom.encode.common import explicit_vr as vr
from voxtell_dicom.model import Mask, Volume

Bytes = npt.NDArray[np.uint8]
THREADS = 4


def pack(masks: Sequence[Mask], index: Sequence[tuple[int, int]], shape: tuple[int, int, int]) -> Iterator[Bytes]:
    """Bits of the frames of `index`, least significant first, frames without gaps (PS3.5 8.1.1, 8.2.4).

    masks: on the source grid (frame, row, column) of `shape`, none empty. index: (segment, frame) of each frame, as
    `occupied` gives it. A few segments are held at a time.
    """
    if shape[2] % 8:
        yield from _pack_unaligned(masks, index, shape)
        return
    frames: list[list[int]] = [[] for _ in masks]
    for segment, frame in index:
        frames[segment].append(frame)
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(masks), THREADS):
            some = slice(start, start + THREADS)
            yield from pool.map(_pack_aligned, masks[some], frames[some], repeat(shape))


def packed_size(frames: int, shape: tuple[int, int, int]) -> int:
    """Bytes of the pixels of so many frames, before padding to an even length."""
    return -(-frames * shape[1] * shape[2] // 8)


def _pack_aligned(mask: Mask, wanted: Sequence[int], shape: tuple[int, int, int]) -> Bytes:
    """Columns are a multiple of 8: a box widened to whole bytes is packed alone and laid into empty frames."""
    (first, last), (top, bottom), (left, right) = mask.box
    crop = mask.crop()
    start, stop = left // 8, -(-right // 8)
    if start * 8 != left or stop * 8 != right:
        crop = np.pad(crop, ((0, 0), (0, 0), (left - start * 8, stop * 8 - right)))
    bits = np.packbits(crop, axis=2, bitorder="little")
    frames = np.zeros((len(wanted), shape[1], shape[2] // 8), np.uint8)
    for place, frame in enumerate(wanted):
        if first <= frame < last:
            frames[place, top:bottom, start:stop] = bits[frame - first]
    return frames.reshape(-1)


def _pack_unaligned(
    masks: Sequence[Mask], index: Sequence[tuple[int, int]], shape: tuple[int, int, int]
) -> Iterator[Bytes]:
    """Any number of columns: eight frames at a time, which always end on a whole byte."""
    for start in range(0, len(index), 8):
        some = index[start : start + 8]
        dense = np.zeros((len(some), *shape[1:]), bool)
        for plane, (segment, frame) in zip(dense, some, strict=True):
            mask = masks[segment]
            plane[mask.slices[1:]] = mask.plane(frame)
        yield np.packbits(dense, bitorder="little")


def per_frame_groups(
    index: Sequence[tuple[int, int]], volume: Volume, positions: Sequence[str], *, labelmap: bool = False
) -> bytes:
    """Per-Frame Functional Groups Sequence (5200,9230) in Explicit VR Little Endian, one item per frame of `index`.

    Each item: Derivation Image with its Source Image, Frame Content, Plane Position, Segment Identification
    (PS3.3 C.7.6.16.2, C.8.20.2); a label map's have no segment, and one dimension less. `positions` are decimal
    strings, one per frame of the volume.
    """
    used = sorted({frame for _, frame in index})
    ordinal = {frame: number for number, frame in enumerate(used, 1)}
    counts: dict[str, int] = {}
    for source in volume.frames:
        counts[source.sop_instance_uid] = counts.get(source.sop_instance_uid, 0) + 1
    before: dict[int, bytes] = {}
    after: dict[int, bytes] = {}
    for frame in used:
        source = volume.frames[frame]
        multi = counts[source.sop_instance_uid] > 1 or source.number > 1
        before[frame] = _derivation(source.sop_class_uid, source.sop_instance_uid, source.number if multi else None)
        position = vr.element(0x0020, 0x0032, "DS", positions[frame].encode())
        after[frame] = vr.sequence(0x0020, 0x9113, [position])
    items = []
    for segment, frame in index:
        if labelmap:
            content = vr.element(0x0020, 0x9157, "UL", ordinal[frame].to_bytes(4, "little"))
            items.append(before[frame] + vr.sequence(0x0020, 0x9111, [content]) + after[frame])
            continue
        values = np.array([segment + 1, ordinal[frame]], "<u4").tobytes()
        content = vr.sequence(0x0020, 0x9111, [vr.element(0x0020, 0x9157, "UL", values)])
        number = vr.element(0x0062, 0x000B, "US", (segment + 1).to_bytes(2, "little"))
        items.append(before[frame] + content + after[frame] + vr.sequence(0x0062, 0x000A, [number]))
    return vr.sequence(0x5200, 0x9230, items)


def _derivation(sop_class_uid: str, sop_instance_uid: str, number: int | None) -> bytes:
    source = vr.element(0x0008, 0x1150, "UI", sop_class_uid.encode())
    source += vr.element(0x0008, 0x1155, "UI", sop_instance_uid.encode())
    if number is not None:
        source += vr.element(0x0008, 0x1160, "IS", str(number).encode())
    source += vr.element(0x0028, 0x135A, "CS", b"YES")
    purpose = vr.code("121322", "DCM", "Source image for image processing operation")
    source += vr.sequence(0x0040, 0xA170, [purpose])
    derivation = vr.sequence(0x0008, 0x9215, [vr.code("113076", "DCM", "Segmentation")])
    return vr.sequence(0x0008, 0x9124, [vr.sequence(0x0008, 0x2112, [source]) + derivation])

"""RLE Lossless (PS3.5 Annex G) for frames of one byte a pixel.

GDCM's encoder, the fast one in pydicom, ends the whole process where Rows × Columns is odd (an uncaught C++ exception,
3.2.6; threads have no part in it), and pydicom's own takes over ten times as long as this.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from voxtell_dicom.encode.common import explicit_vr

LONGEST = 128  # bytes of one run
Bytes = npt.NDArray[np.uint8]


def rle_frame(plane: Bytes) -> bytes:
    """One frame, uint8 (row, column), as RLE: header, then runs that end with their row (PS3.5 G.3, G.5)."""
    values, lengths, rows = _runs(plane)
    single = lengths == 1
    single_before = np.concatenate(([False], single[:-1])) & (np.diff(rows, prepend=-1) == 0)
    place = np.arange(single.size)
    streak = np.maximum.accumulate(np.where(single & ~single_before, place, 0))
    head = single & ((place - streak) % LONGEST == 0)  # a literal run begins: its length stands before its first byte
    size = np.where(single, 1 + head, 2)
    at = np.cumsum(size) - size
    data: Bytes = np.empty(int(size.sum()), np.uint8)
    data[at[~single]] = 257 - lengths[~single]
    data[at[~single] + 1] = values[~single]
    data[at[single] + head[single]] = values[single]
    if head.any():
        data[at[head]] = np.bincount(np.cumsum(head)[single] - 1) - 1
    encoded = struct.pack("<2L56x", 1, 64) + data.tobytes()
    return encoded + b"\0" * (len(encoded) % 2)


def _runs(plane: Bytes) -> tuple[Bytes, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Value, length (at most LONGEST) and row of every run of equal pixels."""
    columns = plane.shape[1]
    flat = np.ascontiguousarray(plane).reshape(-1)
    begins = np.ones(flat.size, bool)
    begins[1:] = flat[1:] != flat[:-1]
    begins[::columns] = True
    starts = np.flatnonzero(begins)
    lengths = np.diff(starts, append=flat.size)
    pieces = -(-lengths // LONGEST)
    split = np.full(int(pieces.sum()), LONGEST, np.int64)
    split[np.cumsum(pieces) - 1] = lengths - LONGEST * (pieces - 1)
    return np.repeat(flat[starts], pieces), split, np.repeat(starts // columns, pieces)


def encapsulated(frames: Sequence[bytes]) -> Iterator[bytes]:
    """Pixel Data with a basic offset table and one fragment a frame, each of even length (PS3.5 A.4)."""
    offsets = np.cumsum([0, *(len(frame) + 8 for frame in frames[:-1])]).astype("<u4").tobytes()
    yield explicit_vr.header(0x7FE0, 0x0010, "OB", 0xFFFFFFFF)
    for value in (offsets, *frames):
        yield struct.pack("<HHI", 0xFFFE, 0xE000, len(value)) + value
    yield struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)

"""Layouts of files with uncompressed pixels of one frame, noted when the header is read: the file is parsed once.

A note is used only while the file is the same (size and time of change); what is unusual is left to pydicom's decoders.
"""

from __future__ import annotations

import os
import struct
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from voxtell_dicom.dicom.attributes import get, text
from voxtell_dicom.dicom.headers import PIXEL_DATA, Header
from voxtell_dicom.dicom.rescale import Rescale, rescale_of

MOST_NOTES = 20_000  # files whose notes are held


@dataclass(frozen=True)
class Layout:
    """Where and how the stored values stand in a file."""

    offset: int
    dtype: str
    shape: tuple[int, int]
    unused_bits: int  # of the allocated ones
    rescale: Rescale
    size: int
    changed_ns: int

    def read(self, path: Path) -> npt.NDArray[Any] | None:
        """Return the stored values; None where the file is no longer the one that was noted."""
        with path.open("rb") as file:
            state = os.fstat(file.fileno())
            if (state.st_size, state.st_mtime_ns) != (self.size, self.changed_ns):
                return None
            file.seek(self.offset)
            stored = np.empty(self.shape, self.dtype)
            return stored if file.readinto(stored.data) == stored.nbytes else None


_notes: OrderedDict[Path, Layout] = OrderedDict()
_lock = Lock()


def note(path: Path, header: Header) -> None:
    """Note where the pixels of a file lie."""
    layout = _layout(header)
    if layout is None:
        return
    with _lock:
        _notes[path] = layout
        _notes.move_to_end(path)
        while len(_notes) > MOST_NOTES:
            _notes.popitem(last=False)


def noted(path: Path) -> Layout | None:
    """Return the note of a file; None where there is none."""
    return _notes.get(path)


def _layout(read: Header) -> Layout | None:
    header = read.dataset
    syntax = get(header.file_meta, "TransferSyntaxUID")
    bits = get(header, "BitsAllocated")
    if syntax not in (ExplicitVRLittleEndian, ImplicitVRLittleEndian) or bits not in (8, 16):
        return None
    if get(header, "SamplesPerPixel") != 1 or int(get(header, "NumberOfFrames") or 1) != 1:
        return None
    shape = int(get(header, "Rows") or 0), int(get(header, "Columns") or 0)
    start, head = read.offset, read.following
    if len(head) < 12 or not head.startswith(PIXEL_DATA):
        return None
    explicit = syntax == ExplicitVRLittleEndian
    length = struct.unpack("<I", head[8:12] if explicit else head[4:8])[0]
    if get(header, "ModalityLUTSequence") or not _plain(header, bits):
        return None
    if not 0 <= length - shape[0] * shape[1] * bits // 8 <= 1:  # an odd length is padded by one byte
        return None
    kind = "i" if get(header, "PixelRepresentation") else "u"
    return Layout(
        offset=start + (12 if explicit else 8),
        dtype=f"<{kind}{bits // 8}",
        shape=shape,
        unused_bits=bits - get(header, "BitsStored"),
        rescale=rescale_of(header, 1),
        size=read.size,
        changed_ns=read.changed_ns,
    )


def in_the_lowest_bits(header: Dataset) -> bool:
    """Return True if High Bit (0028,0102) says that the values stand in the lowest of the allocated bits (PS3.5 8.1.1).

    One that lies beyond them all says nothing, where every bit is a value's: some writers count it from one.
    """
    high, stored, allocated = (get(header, word) for word in ("HighBit", "BitsStored", "BitsAllocated"))
    return None in (high, stored) or high == stored - 1 or (stored == allocated and high >= allocated)


def _plain(header: Dataset, bits: int) -> bool:
    """Return True if pydicom would take what is stated, and the values stand in the lowest bits of those allocated."""
    stored = get(header, "BitsStored")
    return bool(
        stored in range(1, bits + 1)
        and in_the_lowest_bits(header)
        and get(header, "PixelRepresentation") in (0, 1)
        and text(header, "PhotometricInterpretation") in ("MONOCHROME1", "MONOCHROME2")
    )

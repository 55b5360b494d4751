"""Decoded pixels of source frames, and what turns stored values into real ones (PS3.3 C.11.1, Modality LUT).

Decoding is pydicom's with its plugins (python-gdcm, pylibjpeg-openjpeg, pyjpegls): every transfer syntax they know.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_modality_lut
from pydicom.uid import UID

from voxtell_dicom.errors import Refusal
from voxtell_dicom.series.keys import number

Stored = npt.NDArray[Any]
EXACT = 2.0**24  # integers below it are exact in float32


@dataclass(frozen=True)
class Rescale:
    """Stored value to real value of one frame: a line, or a table (then `table` is the dataset that holds it)."""

    slope: float = 1.0
    intercept: float = 0.0
    table: Dataset | None = None

    def into(self, stored: Stored, target: npt.NDArray[np.float32]) -> None:
        """Write the real values of a frame into a float32 view of the same shape, as float64 arithmetic rounds."""
        if self.table is not None:
            target[...] = apply_modality_lut(stored, self.table)
            return
        reach = float(np.iinfo(stored.dtype).max) * abs(self.slope) + abs(self.intercept)
        if self.slope.is_integer() and self.intercept.is_integer() and reach < EXACT:
            np.multiply(stored, np.float32(self.slope), out=target, casting="unsafe", dtype=np.float32)
            if self.intercept:
                np.add(target, np.float32(self.intercept), out=target)
            return
        real = stored.astype(np.float64)
        real *= self.slope
        real += self.intercept
        target[...] = real


def decode(path: Path, numbers: Sequence[int]) -> Iterator[tuple[Stored, Rescale]]:
    """The stored values (rows, columns) and the rescale of the given frames (from 1) of one instance, in this order.

    Raises Refusal (``pixels``) where they cannot be decoded, with the SOP Instance UID and the transfer syntax.
    """
    uid, syntax = path.name, ""
    try:
        ds = pydicom.dcmread(path)
        uid = str(ds.get("SOPInstanceUID", path.name))
        syntax = str(ds.file_meta.TransferSyntaxUID)
        decoder = get_decoder(syntax)
        single = int(ds.get("NumberOfFrames", 1) or 1) == 1
        for frame in numbers:
            stored, _ = decoder.as_array(ds, index=None if single else frame - 1)
            yield stored, rescale_of(ds, frame)
    except Refusal:
        raise
    except Exception as error:  # decoders raise anything on broken data
        raise Refusal(
            "pixels",
            f"{uid}: Pixel Data (7FE0,0010) cannot be decoded (transfer syntax {UID(syntax).name or 'unknown'}: "
            f"{type(error).__name__}: {error})",
            uid,
        ) from error


def rescale_of(ds: Dataset, frame: int) -> Rescale:
    """The rescale of a frame (from 1): per-frame, else shared Pixel Value Transformation, else top level, else none."""
    items: list[Dataset] = []
    for groups, index in (("PerFrameFunctionalGroupsSequence", frame - 1), ("SharedFunctionalGroupsSequence", 0)):
        sequence = ds.get(groups)
        if sequence and index < len(sequence):
            items += list(sequence[index].get("PixelValueTransformationSequence") or [])[:1]
    for item in (*items, ds):
        if "RescaleSlope" in item or "RescaleIntercept" in item:
            slope, intercept = number(item.get("RescaleSlope")), number(item.get("RescaleIntercept"))
            if slope == 0 or (slope is not None and not np.isfinite(slope)):
                raise Refusal(
                    "rescale", f"{ds.SOPInstanceUID}: Rescale Slope (0028,1053) is {slope}", str(ds.SOPInstanceUID)
                )
            return Rescale(1.0 if slope is None else slope, 0.0 if intercept is None else intercept)
    if ds.get("ModalityLUTSequence"):
        return Rescale(table=ds)
    return Rescale()


def digest_of(stored: Stored) -> str:
    """SHA-256 of a frame's stored values, the same in every lossless transfer syntax."""
    little = stored.astype(stored.dtype.newbyteorder("<"), copy=False)
    content = hashlib.sha256(f"{stored.shape[0]}x{stored.shape[1]};".encode())
    content.update(np.ascontiguousarray(little).data)
    return content.hexdigest()


def frame_digest(path: Path, frame: int) -> str:
    """`digest_of` a frame in a file; a word of its own where it cannot be decoded, so that nothing equals it."""
    try:
        return digest_of(next(decode(path, [frame]))[0])
    except Refusal:
        return f"undecodable:{path}:{frame}"

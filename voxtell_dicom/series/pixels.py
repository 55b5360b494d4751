"""Decoded pixels of source frames.

Decoding is pydicom's, each transfer syntax by the decoder that `decoders/choice.py` names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.uid import UID

from voxtell_dicom.decoders.choice import decoder_for
from voxtell_dicom.errors import Refusal
from voxtell_dicom.series.native import noted
from voxtell_dicom.series.rescale import Rescale, rescale_of

Stored = npt.NDArray[Any]
OPTIONS: Any = {"view_only": True, "correct_unused_bits": False}  # no copies: `_without_unused_bits` where needed


def decode(path: Path, numbers: Sequence[int]) -> Iterator[tuple[Stored, Rescale]]:
    """The stored values (rows, columns) and the rescale of the given frames (from 1) of one instance, in this order.

    Raises Refusal (``pixels``) where they cannot be decoded, with the SOP Instance UID and the transfer syntax.
    """
    uid, syntax = path.name, ""
    layout = noted(path)
    native = layout.read(path) if layout else None
    if layout and native is not None:
        yield _without_unused_bits(native, layout.unused_bits), layout.rescale
        return
    try:
        ds = pydicom.dcmread(path)
        uid = str(ds.get("SOPInstanceUID", path.name))
        syntax = str(ds.file_meta.TransferSyntaxUID)
        decoder = decoder_for(syntax)
        single = int(ds.get("NumberOfFrames", 1) or 1) == 1
        for frame in numbers:
            index = None if single else frame - 1
            stored, _ = decoder.as_array(ds, index=index, **OPTIONS)
            yield _without_unused_bits(stored, int(ds.BitsAllocated) - int(ds.BitsStored)), rescale_of(ds, frame)
    except Refusal:
        raise
    except Exception as error:  # decoders raise anything on broken data
        raise Refusal(
            "pixels",
            f"{uid}: Pixel Data (7FE0,0010) cannot be decoded (transfer syntax {UID(syntax).name or 'unknown'}: "
            f"{type(error).__name__}: {error})",
            uid,
        ) from error


def _without_unused_bits(stored: Stored, unused: int) -> Stored:
    """The values in Bits Stored (0028,0101): what stands in the other allocated bits is not theirs (PS3.5 8.1.1)."""
    if unused <= 0 or not stored.size:
        return stored
    limits = np.iinfo(stored.dtype)
    if stored.max() <= limits.max >> unused and stored.min() >= limits.min >> unused:  # the rule: nothing stands there
        return stored
    return (stored << unused) >> unused


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

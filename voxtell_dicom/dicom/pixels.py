"""Decode the pixels of source frames.

Decoding is pydicom's, each transfer syntax by the decoder that `codecs/choice.py` names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID

from voxtell_dicom.dicom.codecs.choice import decoder_for
from voxtell_dicom.dicom.headers import HeaderSource
from voxtell_dicom.dicom.native import in_the_lowest_bits, noted
from voxtell_dicom.dicom.rescale import Rescale, rescale_of
from voxtell_dicom.errors import Refusal

Stored = npt.NDArray[Any]
ALL_FAILED = "Unable to decode as exceptions were raised by all available plugins: "  # by the one, that is
OPTIONS: Any = {"view_only": True, "correct_unused_bits": False}  # no copies: `_without_unused_bits` where needed


def decode(path: Path, numbers: Sequence[int], headers: HeaderSource | None = None) -> Iterator[tuple[Stored, Rescale]]:
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
        ds = headers.image(path) if headers else pydicom.dcmread(path)
        uid = str(ds.get("SOPInstanceUID", path.name))
        syntax = str(ds.file_meta.TransferSyntaxUID)
        _check_bits(ds, uid)
        decoder = decoder_for(syntax)
        single = int(ds.get("NumberOfFrames", 1) or 1) == 1
        for frame in numbers:
            index = None if single else frame - 1
            stored, _ = decoder.as_array(ds, index=index, **OPTIONS)
            yield _without_unused_bits(stored, int(ds.BitsAllocated) - int(ds.BitsStored)), rescale_of(ds, frame)
    except Refusal:
        raise
    except Exception as error:  # decoders raise anything on broken data
        why = " ".join(str(error).split()).removeprefix(ALL_FAILED)
        words = f"cannot be decoded (transfer syntax {UID(syntax).name or 'unknown'}: {why or type(error).__name__})"
        raise Refusal("pixels", f"{uid}: Pixel Data (7FE0,0010) {words}", uid) from error


def _check_bits(ds: Dataset, uid: str) -> None:
    """Stored values in other bits than the lowest are retired (PS3.5 8.1.1): no decoder of ours moves them."""
    high, stored = ds.get("HighBit"), ds.get("BitsStored")
    if not in_the_lowest_bits(ds):
        words = f"High Bit (0028,0102) is {high}, where Bits Stored (0028,0101) is {stored}: {stored - 1} is needed"
        raise Refusal("pixels", f"{uid}: {words}", uid)


def _without_unused_bits(stored: Stored, unused: int) -> Stored:
    """Return the values in Bits Stored (0028,0101): the other allocated bits are not theirs (PS3.5 8.1.1)."""
    if unused <= 0 or not stored.size:
        return stored
    limits = np.iinfo(stored.dtype)
    if stored.max() <= limits.max >> unused and stored.min() >= limits.min >> unused:  # the rule: nothing stands there
        return stored
    return (stored << unused) >> unused


def digest_of(stored: Stored) -> str:
    """Return the SHA-256 of a frame's stored values, the same in every lossless transfer syntax."""
    little = stored.astype(stored.dtype.newbyteorder("<"), copy=False)
    content = hashlib.sha256(f"{stored.shape[0]}x{stored.shape[1]};".encode())
    content.update(np.ascontiguousarray(little).data)
    return content.hexdigest()


def frame_digest(path: Path, frame: int) -> str:
    """Return a digest of a frame's values; of what cannot be decoded, a word of its own that equals nothing.

    Of the stored values and of what makes them real ones: the same stored values under another slope are another image.
    """
    try:
        stored, rescale = next(decode(path, [frame]))
        return f"{digest_of(stored)}:{rescale.slope!r}:{rescale.intercept!r}:{rescale.table is not None}"
    except Refusal:
        return f"undecodable:{path}:{frame}"

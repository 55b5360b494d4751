"""A Part 10 file written once: head by pydicom, the long sequences and the pixels as bytes, then fsync and rename."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from voxtell_dicom.dicom.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from voxtell_dicom.dicom.source_text import is_ascii, restore_text
from voxtell_dicom.encode.common import words
from voxtell_dicom.files import sha256_of, sync_folder


def write_once(
    path: Path,
    ds: Dataset,
    tail: Iterable[bytes | memoryview] = (),
    *,
    text: Dataset,
    transfer_syntax: UID = ExplicitVRLittleEndian,
) -> str:
    """Write `ds` and then `tail` (elements in explicit VR whose tags come after all of `ds`) atomically.

    text: what `ds` repeats of the source, undecoded; it replaces what is there, and our own words are written in ASCII
    where the character set of the source cannot hold them. `ds` is changed by that.
    Returns the SHA-256 (hex) of the file. The file appears whole or not at all; an existing one is never replaced:
    then its own digest is returned. Raises OSError as the file system does.
    """
    if not is_ascii(text):
        words.fit(ds, ds.get("SpecificCharacterSet"))
    restore_text(ds, text, implicit=transfer_syntax.is_implicit_VR)
    chunks: Iterable[bytes | memoryview] = chain([_dataset(ds, transfer_syntax)], tail)
    if transfer_syntax == DeflatedExplicitVRLittleEndian:
        chunks = _deflated(chunks)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    digest = hashlib.sha256()
    try:
        with temporary.open("wb") as file:
            for chunk in chain([_head(ds, transfer_syntax)], chunks):
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)  # unlike a rename, this does not replace what another process has just written
            sync_folder(path.parent)
            return digest.hexdigest()
        return sha256_of(path)
    finally:
        temporary.unlink(missing_ok=True)


def _head(ds: Dataset, transfer_syntax: UID) -> bytes:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = transfer_syntax
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    buffer = DicomBytesIO()
    buffer.write(b"\0" * 128 + b"DICM")
    write_file_meta_info(buffer, meta, enforce_standard=True)
    return buffer.getvalue()


def _dataset(ds: Dataset, transfer_syntax: UID) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, transfer_syntax.is_implicit_VR
    write_dataset(buffer, ds, parent_encoding=ds.get("SpecificCharacterSet", "iso8859"))
    return buffer.getvalue()


def _deflated(chunks: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    """The data set as one raw deflate stream, padded to an even length (PS3.5 A.5)."""
    packer, length = zlib.compressobj(wbits=-zlib.MAX_WBITS), 0
    for chunk in chunks:
        piece = packer.compress(chunk)
        length += len(piece)
        yield piece
    last = packer.flush()
    yield last + b"\0" * ((length + len(last)) % 2)

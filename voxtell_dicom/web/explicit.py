"""An instance as a Part 10 file: as it is stored, or in Explicit VR Little Endian."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian

from voxtell_dicom.archive.part10 import dataset_offset, plain_file_meta
from voxtell_dicom.dicom.codecs.choice import DECODERS
from voxtell_dicom.dicom.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from voxtell_dicom.dicom.json_model import WORD, little_endian
from voxtell_dicom.web.holdings import Holding
from voxtell_dicom.web.pixels import word_of

_PIECE = 1 << 20


def stored_file(one: Holding) -> Iterator[bytes]:
    """Yield an instance as it came. File meta information is made for it: the stored one says who sent it, and when."""
    with one.path.open("rb") as file:
        if not one.result:
            file.seek(dataset_offset(file))
            yield plain_file_meta(one.sop_class, one.sop_uid, one.transfer_syntax)
        while piece := file.read(_PIECE):
            yield piece


def can_be_explicit(syntax: UID) -> bool:
    """Return whether instances of a transfer syntax can be given in Explicit VR Little Endian."""
    return not syntax.is_encapsulated or syntax in DECODERS


def explicit_file(one: Holding) -> Iterator[bytes]:
    """Yield an instance in Explicit VR Little Endian, its pixels decoded. Raises what decoders raise."""
    if one.transfer_syntax == ExplicitVRLittleEndian:
        yield from stored_file(one)
        return
    ds = pydicom.dcmread(one.path)
    if one.transfer_syntax.is_encapsulated:
        ds.decompress(generate_instance_uid=False)
    elif one.transfer_syntax == ExplicitVRBigEndian:
        _turn(ds)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = UID(one.sop_class)
    ds.file_meta.MediaStorageSOPInstanceUID = UID(one.sop_uid)
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    ds.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    with BytesIO() as file:
        dcmwrite(file, ds, implicit_vr=False, little_endian=True, enforce_file_format=True)
        yield file.getvalue()


def _turn(ds: Dataset) -> None:
    """Turn binary values from big to little endian: pydicom turns numbers alone."""
    for element in ds:
        if element.VR == "SQ":
            for item in element.value:
                _turn(item)
        elif element.VR in WORD and element.value:
            element.value = little_endian(element.value, word_of(element, ds), little=False)

"""File meta information packed by hand has the bytes that pydicom writes."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID

from voxtell_dicom.archive.part10 import PRIVATE_CREATOR_UID, Facts, pack_file_meta
from voxtell_dicom.dicom.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

UIDS = st.from_regex(r"[0-9.]{1,64}", fullmatch=True)
TITLES = st.text(st.characters(max_codepoint=255, exclude_characters="\0"), max_size=16)
WORDS = st.text(max_size=64)


def written_by_pydicom(facts: Facts) -> bytes:
    """The same elements by pydicom, as version 0.1 wrote them."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = UID(facts.sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(facts.sop_instance_uid)
    meta.TransferSyntaxUID = UID(facts.transfer_syntax_uid)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    if facts.calling_ae:
        meta.SourceApplicationEntityTitle = meta.SendingApplicationEntityTitle = facts.calling_ae
    if facts.called_ae:
        meta.ReceivingApplicationEntityTitle = facts.called_ae
    meta.PrivateInformationCreatorUID = UID(PRIVATE_CREATOR_UID)
    text = json.dumps(asdict(facts), separators=(",", ":")).encode()
    meta.PrivateInformation = text + b" " * (len(text) % 2)
    stream = DicomBytesIO()
    write_file_meta_info(stream, meta)
    return stream.getvalue()


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@settings(max_examples=300, deadline=None)
@given(
    st.builds(
        Facts,
        sop_class_uid=UIDS,
        sop_instance_uid=UIDS,
        transfer_syntax_uid=UIDS,
        patient_id=WORDS,
        calling_ae=TITLES,
        called_ae=TITLES,
        implementation=WORDS,
        arrived=st.floats(0, 1e10),
        opened=st.floats(0, 1e10),
    )
)
def test_the_bytes_are_those_of_pydicom(facts: Facts) -> None:
    assert pack_file_meta(facts) == written_by_pydicom(facts)


def test_a_title_outside_of_the_default_character_set_is_written_with_a_placeholder() -> None:
    facts = Facts("1.2", "1.3", "1.4", "1.5", "P", "1.6", "", False, 0, 1, 0.0, "a", "\u3042", "", "", 0.0, "")
    assert b"AE\x02\x00? " in pack_file_meta(facts)

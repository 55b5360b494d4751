"""A received Part 10 file taken apart: who it says it is, and its dataset as it came."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

from pydicom.filereader import data_element_generator
from pydicom.tag import BaseTag

from voxtell_dicom.web.uids import is_uid

_DICM_AT, _META_AT = 128, 132
_GROUP_LENGTH_BYTES = 12
_GROUP_2 = b"\2\0"


@dataclass(frozen=True)
class FileMeta:
    """Values of the file meta information (PS3.10 section 7.1). dataset_at: where the dataset begins."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    dataset_at: int


class NoPart10(Exception):
    """The bytes are no Part 10 file."""


def read_file_meta(content: bytearray) -> FileMeta:
    """Read the file meta information. Raises NoPart10.

    Without a preamble, as pydicom writes a dataset that was never read from a file, it must stand at the beginning.
    """
    start = _META_AT if content[_DICM_AT:_META_AT] == b"DICM" else 0
    if not start and not content.startswith(_GROUP_2):
        raise NoPart10("it is no Part 10 file: 'DICM' does not stand at byte 128")
    with BytesIO(memoryview(content)[start : start + (1 << 16)]) as head:
        try:
            generator = data_element_generator(head, False, True, lambda tag, _vr, _length: BaseTag(tag).group != 2)
            found: dict[int, bytes] = {}
            end = 1 << 32
            for element in generator:
                value = element.value if isinstance(element.value, bytes) else b""
                found[element.tag.element] = value
                if element.tag.element == 0 and len(value) == 4:
                    end = _GROUP_LENGTH_BYTES + int.from_bytes(value, "little")
                if head.tell() >= end:
                    break
            at = head.tell()
        except Exception as error:  # whatever broken bytes make the parser raise
            raise NoPart10(f"its file meta information is broken ({type(error).__name__})") from error
    texts = {number: found.get(number, b"").rstrip(b"\0 ").decode("ascii", "replace") for number in (2, 3, 0x10)}
    texts = {number: text if is_uid(text) else "" for number, text in texts.items()}  # they go into logs and answers
    if not texts[0x10]:
        raise NoPart10("its file meta information names no Transfer Syntax UID (0002,0010)")
    return FileMeta(texts[2], texts[3], texts[0x10], start + at)

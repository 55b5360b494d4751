"""Pixels of one instance as retrieval gives them: stored frames as they are, or decoded ones in little endian."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian

from voxtell_dicom.dicom.attributes import get
from voxtell_dicom.dicom.codecs.choice import decoder_for
from voxtell_dicom.dicom.headers import PIXEL_DATA, PIXEL_HEAD, Header, read_header
from voxtell_dicom.dicom.json_model import little_endian

_PIXEL_DATA, _FLOAT, _DOUBLE = 0x7FE00010, 0x7FE00008, 0x7FE00009
_MEDIA = {  # PS3.18 table 8.7.3-5
    "1.2.840.10008.1.2.5": "image/dicom-rle",
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70)), "image/jpeg"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{number}" for number in (80, 81)), "image/jls"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{number}" for number in (90, 91)), "image/jp2"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{number}" for number in (92, 93)), "image/jpx"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{number}" for number in (110, 111, 112)), "image/jxl"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{number}" for number in (201, 202, 203)), "image/jphc"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{number}" for number in (100, 101)), "video/mpeg2"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{number}" for number in range(102, 107)), "video/mp4"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{number}" for number in (107, 108)), "video/h265"),
}


class NoPixels(Exception):
    """The instance has no pixels, or not this frame, or they cannot be decoded."""


def media_type(syntax: str) -> str:
    """Return the media type of a stored frame; that of bytes for syntaxes that compress nothing."""
    return _MEDIA.get(syntax, "application/octet-stream")


@dataclass(frozen=True)
class Image:
    """The header of an instance and where its pixels are."""

    path: Path
    header: Header

    @classmethod
    def open(cls, path: Path) -> Image:
        """Read the header of an instance. Raises OSError."""
        return cls(path, read_header(path))

    @property
    def dataset(self) -> Dataset:
        """Return the dataset without pixels."""
        return self.header.dataset

    @property
    def syntax(self) -> UID:
        """Return the transfer syntax of the file."""
        return UID(self.dataset.file_meta.TransferSyntaxUID)

    @property
    def frames(self) -> int:
        """Return Number of Frames, 1 where absent."""
        return int(get(self.dataset, "NumberOfFrames") or 1)

    @property
    def pixel_element(self) -> tuple[int, str] | None:
        """Tag and VR of the element of pixels; None where there is none."""
        if self._in_file:
            return _PIXEL_DATA, self._vr
        whole = pydicom.dcmread(self.path, specific_tags=[_PIXEL_DATA, _FLOAT, _DOUBLE])
        for tag in (_PIXEL_DATA, _FLOAT, _DOUBLE):
            if tag in whole:
                return tag, str(whole[tag].VR)
        return None

    @property
    def _in_file(self) -> bool:
        """Return whether Pixel Data lies in the file as it is, in little endian."""
        return self.header.following.startswith(PIXEL_DATA) and self.syntax != DeflatedExplicitVRLittleEndian

    @property
    def _vr(self) -> str:
        return "OW" if self.syntax.is_implicit_VR else self.header.following[4:6].decode("ascii", "replace")

    @property
    def _value_at(self) -> int:
        return self.header.offset + (8 if self.syntax.is_implicit_VR else PIXEL_HEAD)

    def stored_frame(self, number: int) -> bytes:
        """Return a frame (from 1) as it is stored; native ones in little endian. Raises NoPixels."""
        if not 1 <= number <= self.frames:
            raise NoPixels(f"there is no frame {number}, Number of Frames (0028,0008) is {self.frames}")
        if self.syntax.is_encapsulated:
            return self._encapsulated(number)
        bits = self._bits_of_frame()
        start, end = bits * (number - 1), bits * number
        content = self._native(start // 8, -(-end // 8))
        if start % 8 == 0 and end % 8 == 0:
            return content
        # One bit a pixel, and frames that do not end on whole bytes (PS3.5 section 8.1.1): each gets bytes of its own.
        first = start % 8
        lone = np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little")[first : first + bits]
        return np.packbits(lone, bitorder="little").tobytes()

    def _bits_of_frame(self) -> int:
        values = [get(self.dataset, keyword) for keyword in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")]
        if any(not isinstance(value, int) or value <= 0 for value in values):
            raise NoPixels("Rows, Columns, Samples per Pixel or Bits Allocated is missing")
        rows, columns, samples, allocated = map(int, values)
        if get(self.dataset, "PhotometricInterpretation") == "YBR_FULL_422" and samples == 3:
            return rows * columns * 2 * allocated
        return rows * columns * samples * allocated

    def _native(self, start: int, end: int) -> bytes:
        if self._in_file:
            with self.path.open("rb") as file:
                file.seek(self._value_at)
                file.seek(start, 1)
                content = file.read(end - start)
        else:
            content = self.pixel_value()[start:end]
        if len(content) != end - start:
            raise NoPixels("Pixel Data is shorter than the header says, or absent")
        return content

    def pixel_value(self) -> bytes:
        """Return the whole value of the pixels' element, in little endian. Raises NoPixels."""
        whole = pydicom.dcmread(self.path)
        for tag in (_PIXEL_DATA, _FLOAT, _DOUBLE):
            if tag in whole:
                little = self.syntax != ExplicitVRBigEndian
                return little_endian(whole[tag].value, word_of(whole[tag], whole), little=little)
        raise NoPixels("the instance has no pixels")

    def _encapsulated(self, number: int) -> bytes:
        if not self._in_file:
            raise NoPixels("the instance has no pixels")
        tables = [get(self.dataset, word) for word in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")]
        extended = (tables[0], tables[1]) if all(isinstance(table, bytes) for table in tables) else None
        with self.path.open("rb") as file:
            file.seek(self._value_at)
            try:
                return get_frame(file, number - 1, number_of_frames=self.frames, extended_offsets=extended)
            except Exception as error:  # whatever broken fragments make the parser raise
                raise NoPixels(f"frame {number} cannot be found in Pixel Data ({type(error).__name__})") from error

    def decoded_frame(self, number: int, *, as_rgb: bool = True) -> npt.NDArray[np.generic]:
        """Return the values of a frame (from 1). Raises NoPixels where it cannot be decoded."""
        if not 1 <= number <= self.frames:
            raise NoPixels(f"there is no frame {number}, Number of Frames (0028,0008) is {self.frames}")
        try:
            whole = pydicom.dcmread(self.path)
            values, _ = decoder_for(self.syntax).as_array(whole, index=number - 1, raw=not as_rgb)
        except Exception as error:  # decoders raise anything on broken data
            raise NoPixels(f"frame {number} cannot be decoded ({type(error).__name__})") from error
        return values

    def plain_frame(self, number: int) -> bytes:
        """Return a frame as Explicit VR Little Endian has it: colours as RGB. Raises NoPixels."""
        if not self.syntax.is_encapsulated:
            return self.stored_frame(number)
        values = self.decoded_frame(number)
        return np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()


def word_of(element: DataElement, ds: Dataset) -> str:
    """Return the VR by whose words a binary value is turned: pixels in OW have words of Bits Allocated."""
    wide = element.tag == _PIXEL_DATA and element.VR == "OW"
    return {32: "OL", 64: "OV"}.get(int(get(ds, "BitsAllocated") or 16), "OW") if wide else str(element.VR)


def frame_numbers(text: str) -> Iterator[int]:
    """Yield the numbers of a list of frames, as "1,3". Raises ValueError."""
    for part in text.split(","):
        if not part.isascii() or not part.isdigit() or len(part) > 9 or int(part) < 1:
            raise ValueError(f"{part[:20]!r} is no frame number")
        yield int(part)

"""Headers of the instances of a series, each parsed once however many stages ask for it."""

from __future__ import annotations

import copy
import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import pydicom
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from voxtell_dicom.dicom.source_text import repeated_elements, source_text

PIXEL_DATA = b"\xe0\x7f\x10\x00"  # its tag, little endian
PIXEL_HEAD = 12  # bytes of tag, VR and length of Pixel Data in explicit VR
SERIES_HELD = 4  # series whose headers a node holds at a time: those between completion and delivery


@dataclass(frozen=True)
class Header:
    """The header of one instance: its data set before Pixel Data (7FE0,0010), shared: copy it before a change.

    repeated: elements that results repeat, undecoded: see `repeated_elements`.
    offset: where the file goes on after it; following: the first bytes there (`PIXEL_HEAD`). size, changed_ns: of the
    file when it was read.
    """

    dataset: Dataset
    repeated: Dataset
    offset: int
    following: bytes
    size: int
    changed_ns: int


def read_header(path: Path) -> Header:
    """Parse the header of a file. Raises what the file system and pydicom raise."""
    with path.open("rb") as file:
        state = os.fstat(file.fileno())
        dataset = pydicom.dcmread(file, stop_before_pixels=True)
        repeated = repeated_elements(dataset)
        return Header(dataset, repeated, file.tell(), file.read(PIXEL_HEAD), state.st_size, state.st_mtime_ns)


class HeaderSource:
    """The headers of one series. Thread-safe; a file that changed since it was parsed is parsed anew.

    read: how a header is obtained: from the file, or from an index.
    """

    def __init__(self, read: Callable[[Path], Header] = read_header) -> None:
        self._read = read
        self._headers: dict[Path, Header] = {}

    def header(self, path: Path) -> Header:
        """Return the header of an instance. Raises as `read` does."""
        known = self._headers.get(path)
        if known is not None:
            state = path.stat()
            if (state.st_size, state.st_mtime_ns) == (known.size, known.changed_ns):
                return known
        header = self._headers[path] = self._read(path)
        return header

    def __call__(self, path: Path) -> Dataset:
        """Return the data set of an instance's header, shared: `copy` gives one that may be changed."""
        return self.header(path).dataset

    def __contains__(self, path: Path) -> bool:
        """Return True if the header of an instance has been parsed."""
        return path in self._headers

    def copy(self, path: Path) -> Dataset:
        """Return a data set of an instance's header of its own."""
        return copy.deepcopy(self(path))

    def text(self, path: Path) -> Dataset:
        """Return what results repeat of an instance's header, undecoded: see `source_text`."""
        return source_text(self.header(path).repeated)

    def image(self, path: Path) -> Dataset:
        """Return an instance with its pixels; of its file only what follows the header is read.

        The header's elements are shared. Raises what the file system and pydicom raise.
        """
        header = self.header(path)
        if not header.following.startswith(PIXEL_DATA):  # deflated, big-endian, or without pixels
            return pydicom.dcmread(path)
        image = copy.copy(header.dataset)
        syntax = image.file_meta.TransferSyntaxUID
        with path.open("rb") as file:
            file.seek(header.offset)
            rest = read_dataset(file, syntax.is_implicit_VR, syntax.is_little_endian)
        image.update({tag: rest.get_item(tag) for tag in rest.keys()})  # noqa: SIM118 - not converted
        return image


class HeaderCache:
    """The header sources of the series that are being processed, by Series Instance UID: those used last."""

    def __init__(self, held: int = SERIES_HELD) -> None:
        self._held = held
        self._sources: OrderedDict[str, HeaderSource] = OrderedDict()
        self._lock = Lock()

    def of(self, series_uid: str) -> HeaderSource:
        """Return the source of a series, all its versions: a file that is part of both is parsed once."""
        with self._lock:
            source = self._sources.setdefault(series_uid, HeaderSource())
            self._sources.move_to_end(series_uid)
            while len(self._sources) > self._held:
                self._sources.popitem(last=False)
            return source

    def drop(self, series_uid: str) -> None:
        """Drop what is held of a series: its results are published."""
        with self._lock:
            self._sources.pop(series_uid, None)

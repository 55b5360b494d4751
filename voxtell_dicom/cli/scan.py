"""A folder read for `inspect` and `verify`: its series, with progress, and the DICOM files that cannot be read."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voxtell_dicom.model import Series
    from voxtell_dicom.series.report import Row

LARGE = 200  # files from which on progress is shown
FIRST = frozenset([(2, 0), (2, 1), (8, 0), (8, 1), (8, 5), (8, 8), (8, 0x12), (8, 0x16)])  # tags a dataset begins with
LONGEST = 256  # bytes in the value of such an element


@dataclass(frozen=True)
class Scan:
    """What lies in a folder."""

    series: tuple[Series, ...]
    unreadable: tuple[str, ...]  # why a file that begins like a DICOM file, or a folder, is not read


def scan(path: Path) -> Scan:
    """The DICOM files below a path by series; other files are passed over. Raises Refusal where there are none."""
    from rich.console import Console
    from rich.progress import Progress

    from voxtell_dicom.cli.folder import by_series, files_below, no_dicom, read_instance
    from voxtell_dicom.model import Instance

    instances: list[Instance] = []
    unreadable: list[str] = []
    files = files_below(path, lambda error: unreadable.append(f"{error.filename}: cannot be listed ({error.strerror})"))
    with Progress(console=Console(stderr=True), transient=True, disable=len(files) < LARGE) as progress:
        for file in progress.track(files, description="reading headers"):
            instance = read_instance(file)
            if instance is not None:
                instances.append(instance)
            elif why := _unreadable(file):
                unreadable.append(f"{file.name}: {why}")
    if not instances and not unreadable:
        raise no_dicom(path)
    return Scan(tuple(by_series(instances)), tuple(unreadable))


def unreadable_rows(found: Scan) -> Iterator[Row]:
    """A refused row for each file that cannot be read."""
    from voxtell_dicom.model import Series, SetAside
    from voxtell_dicom.series.report import aside_row

    for reason in found.unreadable:
        yield aside_row(Series("", "", "", ()), SetAside("unreadable", reason, refused=True))


def _unreadable(file: Path) -> str:
    """Why a file that begins like a DICOM file is not read; "" for all other files, and for a DICOMDIR."""
    from voxtell_dicom.cli.folder import is_directory

    try:
        with file.open("rb") as content:
            start = content.read(132)
    except OSError as error:
        return f"cannot be opened ({error.strerror})"
    if is_directory(file):
        return ""
    if start[128:] == b"DICM":
        return "begins like a DICOM file, but cannot be read: damaged, cut short, or without any UID"
    if _begins_with_an_element(start):
        return "a dataset without the preamble and prefix of a DICOM file (PS3.10 7.1): convert it, dcmconv +f"
    return ""


def _begins_with_an_element(start: bytes) -> bool:
    """Return whether what a file begins with is the first element of a dataset or of a File Meta Information."""
    if len(start) < 8:
        return False
    group, element, length = struct.unpack("<HHL", start[:8])
    explicit = start[4:6].isalpha() and start[4:6].isupper()  # its Value Representation
    return (group, element) in FIRST and (explicit or length <= LONGEST)

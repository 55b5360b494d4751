"""A folder read for `inspect` and `verify`: its series, with progress, and the DICOM files that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voxtell_dicom.model import Series
    from voxtell_dicom.series.report import Row

LARGE = 200  # files from which on progress is shown


@dataclass(frozen=True)
class Scan:
    """What lies in a folder."""

    series: tuple[Series, ...]
    unreadable: tuple[str, ...]  # why a file that begins like a DICOM file is not read


def scan(path: Path) -> Scan:
    """The DICOM files below a path by series; other files are passed over. Raises Refusal where there are none."""
    from rich.console import Console
    from rich.progress import Progress

    from voxtell_dicom.cli.folder import read_instance, version_of
    from voxtell_dicom.errors import Refusal
    from voxtell_dicom.model import Instance, Series

    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    groups: dict[tuple[str, str], list[Instance]] = {}
    unreadable: list[str] = []
    with Progress(console=Console(stderr=True), transient=True, disable=len(files) < LARGE) as progress:
        for file in progress.track(files, description="reading headers"):
            instance = read_instance(file)
            if instance is not None:
                groups.setdefault((instance.study_uid, instance.series_uid), []).append(instance)
            elif why := _unreadable(file):
                unreadable.append(f"{file.name}: {why}")
    if not groups and not unreadable:
        raise Refusal("no-dicom", f"{path}: no DICOM file in it")
    series = [Series(study, uid, version_of(group), tuple(group)) for (study, uid), group in sorted(groups.items())]
    return Scan(tuple(series), tuple(unreadable))


def unreadable_rows(found: Scan) -> Iterator[Row]:
    """A refused row for each file that cannot be read."""
    from voxtell_dicom.model import Series, SetAside
    from voxtell_dicom.series.report import aside_row

    for reason in found.unreadable:
        yield aside_row(Series("", "", "", ()), SetAside("unreadable", reason, refused=True))


def _unreadable(file: Path) -> str:
    """Why a file that begins like a DICOM file is not read; "" for all other files, and for a DICOMDIR."""
    try:
        with file.open("rb") as content:
            start = content.read(132)
    except OSError as error:
        return f"cannot be opened ({error.strerror})"
    if start[128:] == b"DICM":
        words = "begins like a DICOM file, but cannot be read: damaged, cut short, or without any UID"
        return "" if _is_directory(file) else words
    group, element = start[:2], start[2:4]
    if group in (b"\x02\x00", b"\x08\x00") and element in (b"\x00\x00", b"\x01\x00", b"\x05\x00", b"\x08\x00"):
        return "a dataset without the preamble and prefix of a DICOM file (PS3.10 7.1): convert it, dcmconv +f"
    return ""


def _is_directory(file: Path) -> bool:
    """Whether a file is a DICOMDIR (PS3.10 § 8), whatever its name."""
    from pydicom.filereader import read_file_meta_info
    from pydicom.uid import MediaStorageDirectoryStorage

    try:
        meta = read_file_meta_info(file)
    except Exception:  # a broken file raises anything inside the parser
        return False
    return bool(meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage)

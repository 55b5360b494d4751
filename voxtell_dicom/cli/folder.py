"""The series in a folder of DICOM files, as the receiver would hand them over."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from voxtell_dicom.errors import Refusal

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.tag import BaseTag

    from voxtell_dicom.model import Instance, Series

_FILE_SET = (0x0004, 0x1130)  # File-set ID: of a DICOMDIR alone (PS3.10 8)
_TAGS = [_FILE_SET, (0x0008, 0x0016), (0x0008, 0x0018), (0x0020, 0x000D), (0x0020, 0x000E)]  # and the UIDs, SOP Class


def series_in(path: Path, *, calling_ae: str = "", called_ae: str = "") -> list[Series]:
    """Every series under a folder (or of one file), in the order of their UIDs; other files are passed over.

    Raises Refusal where there is no DICOM file. Copies of an instance are left to the series room.
    """
    found = by_series(_instances(path), calling_ae=calling_ae, called_ae=called_ae)
    if not found:
        raise no_dicom(path)
    return found


def no_dicom(path: Path) -> Refusal:
    """Return the refusal of a file or folder without DICOM files; of a DICOMDIR alone it says what to give."""
    if any(is_directory(file) for file in files_below(path)):
        words = "only a DICOMDIR (Media Storage Directory, PS3.10 8), which names images and holds none"
        return Refusal("no-dicom", f"{path}: {words}: give the folder that holds the images")
    return Refusal("no-dicom", f"{path}: no DICOM file in it")


def is_directory(file: Path) -> bool:
    """Return True for a DICOMDIR (PS3.10 8), whatever its name and class: its dataset begins with group 0004."""
    from pydicom.filereader import read_partial
    from pydicom.uid import MediaStorageDirectoryStorage

    groups: list[int] = []

    def first(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        groups.append(tag.group)
        return True

    try:
        with file.open("rb") as content:
            found = read_partial(content, first)
    except Exception:  # a broken file raises anything inside the parser
        return groups == [4] or file.name.upper() == "DICOMDIR"
    return groups == [4] or found.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage


def by_series(instances: Iterable[Instance], *, calling_ae: str = "", called_ae: str = "") -> list[Series]:
    """The series that instances belong to, in the order of their UIDs. One UID in two studies is two series."""
    from voxtell_dicom.dicom.identity import series_version
    from voxtell_dicom.dicom.sop_classes import starts_work
    from voxtell_dicom.model import Series

    def version(group: list[Instance]) -> str:
        return series_version(each.sop_instance_uid for each in group if starts_work(each.sop_class_uid))

    groups: dict[tuple[str, str], list[Instance]] = {}
    for instance in instances:
        groups.setdefault((instance.study_uid, instance.series_uid), []).append(instance)
    return [
        Series(study, series, version(group), tuple(group), calling_ae, called_ae)
        for (study, series), group in sorted(groups.items())
    ]


def files_below(path: Path, unreadable: Callable[[OSError], object] | None = None) -> list[Path]:
    """The files in a folder and all below it, in order, through links, too: each folder once. A file is itself.

    unreadable: called for a folder that cannot be listed.
    """
    if not path.is_dir():
        return [path] if path.is_file() else []  # a pipe would be waited for
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    for folder, below, names in os.walk(path, onerror=unreadable, followlinks=True):
        state = os.stat(folder)
        if (state.st_dev, state.st_ino) in seen:  # by a link: into itself, or a second way
            below.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        found += [file for name in names if (file := Path(folder, name)).is_file()]
    return sorted(found)


def headers(paths: list[Path]) -> list[Dataset]:
    """The headers of files, without pixels, in the same order."""
    import pydicom

    return [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]


def read_instance(file: Path) -> Instance | None:
    """One file as an instance; None where it is no readable DICOM object (a DICOMDIR is none)."""
    import pydicom

    from voxtell_dicom.model import Instance

    try:
        found = pydicom.dcmread(file, specific_tags=_TAGS, stop_before_pixels=True)
    except Exception:  # a broken file raises anything inside the parser
        return None
    if not len(found) or _FILE_SET in found:  # cut short, or a DICOMDIR
        return None
    return Instance(
        sop_instance_uid=str(found.get("SOPInstanceUID", "")),
        sop_class_uid=str(found.get("SOPClassUID", "")),
        series_uid=str(found.get("SeriesInstanceUID", "")),
        study_uid=str(found.get("StudyInstanceUID", "")),
        path=file,
        transfer_syntax_uid=str(found.file_meta.get("TransferSyntaxUID", "")),
    )


def _instances(path: Path) -> Iterator[Instance]:
    for file in files_below(path):
        instance = read_instance(file)
        if instance is not None:
            yield instance

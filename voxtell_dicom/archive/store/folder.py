"""The store as a folder: temporary file, fsync, rename, fsync of the folder."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from voxtell_dicom.archive.store import Writer
from voxtell_dicom.files import sync_folder


class FolderStore:
    """A `Store` below `root`. What `incoming/` holds is unfinished."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._incoming = self.root / "incoming"
        self.root.mkdir(mode=0o750, parents=True, exist_ok=True)  # patient data: not for everybody on the machine
        (self.root / "series").mkdir(exist_ok=True)
        self._incoming.mkdir(exist_ok=True)

    def discard_unfinished(self) -> None:
        """Delete what an earlier process was writing or deleting; only while no other has the store open."""
        shutil.rmtree(self._incoming, ignore_errors=True)
        self._incoming.mkdir(exist_ok=True)

    def put(self, key: str, write: Writer) -> int:
        """Store what `write` writes, durably and whole; return its size in bytes."""
        target, temporary = self.path(key), self._incoming / f"{uuid.uuid4().hex}.part"
        try:
            with temporary.open("xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
                size = file.tell()
            if not target.parent.is_dir():
                target.parent.mkdir(parents=True, exist_ok=True)
                sync_folder(target.parent.parent)
            os.replace(temporary, target)
            sync_folder(target.parent)
        finally:
            with suppress(OSError):  # a read-only disk says so twice
                temporary.unlink()
        return size

    def path(self, key: str) -> Path:
        """Return the file of an object; it may be absent."""
        return self.root / key

    def exists(self, key: str) -> bool:
        """Return whether there is an object of this key."""
        return self.path(key).is_file()

    def list(self, prefix: str) -> Iterator[str]:
        """Return the keys below a prefix, in no order."""
        for folder, _, names in os.walk(self.root / prefix):
            yield from (str((Path(folder) / name).relative_to(self.root)) for name in names)

    def remove(self, key: str) -> None:
        """Delete one object, if it is there."""
        self.path(key).unlink(missing_ok=True)

    def delete(self, prefix: str) -> None:
        """Delete what lies below a prefix. What is left of it after a crash is unfinished."""
        grave = self._incoming / f"{uuid.uuid4().hex}.deleted"
        try:
            os.replace(self.root / prefix, grave)
        except FileNotFoundError:
            return
        sync_folder((self.root / prefix).parent)
        shutil.rmtree(grave, ignore_errors=True)

"""Append-only text files whose lines survive a crash: written and flushed to disk before `append` returns."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import structlog

from voxtell_dicom.files import sync_folder

log = structlog.get_logger(__name__)


class Journal:
    """One line per fact. A line torn by a crash was never acknowledged: it is left out when reading."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[str]:
        """All whole lines, oldest first; none where there is no file yet."""
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return []
        return [line for line in text[: text.rfind(b"\n") + 1].decode("utf-8", "replace").split("\n") if line]

    def read_json(self) -> list[Any]:
        """The lines as JSON; one that is none (a damaged disk) is left out and named in the log."""
        found = []
        for number, line in enumerate(self.read(), 1):
            try:
                found.append(json.loads(line))
            except ValueError:
                log.error("unreadable line", file=str(self.path), line=number)
        return found

    def append(self, lines: Iterable[str]) -> None:
        """Add lines durably. Raises OSError; a torn line is cut off before the next one is written."""
        new = not self.path.exists()
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o640)
        try:
            size = self._whole(handle)
            data = "".join(f"{line}\n" for line in lines).encode()
            try:
                _write_all(handle, data, size)
                os.fsync(handle)
            except OSError:
                os.ftruncate(handle, size)
                raise
        finally:
            os.close(handle)
        if new:
            sync_folder(self.path.parent)

    @staticmethod
    def _whole(handle: int) -> int:
        """Bytes up to the end of the last whole line."""
        size = os.fstat(handle).st_size
        if size == 0 or os.pread(handle, 1, size - 1) == b"\n":
            return size
        whole = os.pread(handle, size, 0).rfind(b"\n") + 1
        os.ftruncate(handle, whole)
        return whole


def _write_all(handle: int, data: bytes, offset: int) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(handle, data[done:], offset + done)

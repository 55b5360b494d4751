"""Operations on files and disks that all packages share."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

_PIECE = 1 << 20  # bytes


def sha256_of(path: Path) -> str:
    """SHA-256 (hex) of a file, read in pieces. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def free_percent(path: Path) -> float | None:
    """Return how much of the disk of a folder is free, None where it has no size. Raises OSError."""
    usage = shutil.disk_usage(path)
    return 100 * usage.free / usage.total if usage.total else None


def sync_folder(folder: Path) -> None:
    """Make durable what was renamed or made in a folder: a file's own fsync does not. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

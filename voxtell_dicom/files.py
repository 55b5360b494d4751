"""Two things that every room does with files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

_PIECE = 1 << 20  # bytes


def sha256_of(path: Path) -> str:
    """SHA-256 (hex) of a file, read in pieces. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def sync_folder(folder: Path) -> None:
    """Make durable what was renamed or made in a folder: a file's own fsync does not. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

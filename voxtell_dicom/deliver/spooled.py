"""The result as it lies in the spool: every delivery sends these very bytes (contracts § 1)."""

from __future__ import annotations

import hashlib
from pathlib import Path

from voxtell_dicom.deliver.outcomes import outcome
from voxtell_dicom.model import Outcome, Result


def digest(path: Path) -> str:
    """SHA-256 (hex) of a file, read in pieces. Raises OSError."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            sha.update(piece)
    return sha.hexdigest()


def broken(result: Result, peer: str) -> Outcome | None:
    """None where the file is the one that was encoded; else the failure, so that no second content gets this UID."""
    todo = "run 'jobs rerun' to make it anew"
    try:
        found = digest(result.path)
    except OSError as error:
        what = f"{result.path}: {error.strerror or type(error).__name__}"
        return outcome("failed", "unreadable", what, result, peer, todo=todo)
    if result.digest and found != result.digest:
        what = f"{result.path} is not the file that was encoded (SHA-256 {found[:12]}…)"
        return outcome("failed", "changed", what, result, peer, todo=todo)
    return None

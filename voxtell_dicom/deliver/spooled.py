"""The result as it lies in the spool: every delivery sends these very bytes (contracts § 1)."""

from __future__ import annotations

from typing import Final

from voxtell_dicom.config import Peer
from voxtell_dicom.deliver.outcomes import outcome
from voxtell_dicom.files import sha256_of
from voxtell_dicom.model import Outcome, Result

SLOWEST_BYTES_PER_S: Final = 125_000  # a link of 1 Mbit/s


def patience_s(result: Result, peer: Peer) -> float:
    """Seconds to wait for the answer: `timeout_s` of the peer and what the object takes over the slowest link.

    Both libraries count from the hand-over of the bytes to a thread or a socket buffer, not from their arrival.
    """
    return peer.timeout_s + result.path.stat().st_size / SLOWEST_BYTES_PER_S


def broken(result: Result, peer: str) -> Outcome | None:
    """None where the file is the one that was encoded; else the failure, so that no second content gets this UID."""
    todo = "run 'jobs rerun' to make it anew"
    try:
        found = sha256_of(result.path)
    except OSError as error:
        what = f"{result.path}: {error.strerror or type(error).__name__}"
        return outcome("failed", "unreadable", what, result, peer, todo=todo)
    if result.digest and found != result.digest:
        what = f"{result.path} is not the file that was encoded (SHA-256 {found[:12]}…)"
        return outcome("failed", "changed", what, result, peer, todo=todo)
    return None

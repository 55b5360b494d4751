"""A folder as a peer: the file appears there whole or not at all, and a second delivery changes nothing."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from voxtell_dicom.config import Peer
from voxtell_dicom.deliver.outcomes import State, outcome
from voxtell_dicom.errors import ConfigError
from voxtell_dicom.files import sha256_of, sync_folder
from voxtell_dicom.model import Outcome, Result

# What passes by itself or with room made: full, quota, a share that is away.
_TRANSIENT = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EIO,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.EHOSTDOWN,
        errno.ENOTCONN,
        errno.EAGAIN,
    }
)


def deliver_all(results: Sequence[Result], peer: Peer, *, name: str) -> list[Outcome]:
    """Copy each result to `<folder>/<SOP Instance UID>.dcm`; one Outcome per result, in order."""
    if peer.folder is None:
        raise ConfigError("a folder peer needs 'folder'")
    return [_copy(result, peer.folder, name) for result in results]


def _copy(result: Result, folder: Path, name: str) -> Outcome:
    target = folder / f"{result.sop_instance_uid}.dcm"
    part = folder / f".{result.sop_instance_uid}.{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if target.exists():
            if sha256_of(target) == result.digest:
                return outcome("delivered", "present", "the same file is there already", result, name)
            what = f"{target} holds other bytes under this SOP Instance UID"
            return outcome("failed", "duplicate", what, result, name, todo="move that file away")
        try:
            with result.path.open("rb") as source, part.open("wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
                copy.flush()
                os.fsync(copy.fileno())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        sync_folder(folder)
    except OSError as error:
        state: State = "retry" if error.errno in _TRANSIENT else "failed"
        code = errno.errorcode.get(error.errno or 0, type(error).__name__)
        return outcome(state, code, f"{folder}: {error.strerror}", result, name, todo="make the folder writable")
    return outcome("delivered", "copied", str(target), result, name)

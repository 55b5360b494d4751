"""Which errors are transient (disk full, database away), and the options of a step that waits until they are over."""

from __future__ import annotations

import errno
from typing import Any, Final

import sqlalchemy as sa
import structlog

from voxtell_dicom.errors import VoxtellDicomError

NO_SPACE: Final = "no-space"  # the code under which the worker reports a full disk
# IntegrityError: two wrote the same row at once; the next attempt finds it.
_DATABASE: Final = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.IntegrityError)

log = structlog.get_logger(__name__)


def no_space(error: BaseException) -> bool:
    """Return True if a disk is full or a quota is used up."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def is_transient(error: BaseException) -> bool:
    """Return True if the same step can succeed later without any change: disk full or database away."""
    return no_space(error) or isinstance(error, _DATABASE)


def retry_later(error: BaseException) -> bool:
    """Return `is_transient`, and log the reason why the step waits."""
    transient = is_transient(error)
    if transient:
        reason = str(getattr(error, "orig", None) or error)
        log.warning("no room, or no database: the work waits", reason=reason)
    return transient


def reraise_if_transient(error: Exception) -> None:
    """Raise `error` again if it is transient, so that the step is retried; return if it is a failure."""
    if isinstance(error, VoxtellDicomError) and error.code == NO_SPACE:
        raise OSError(errno.ENOSPC, str(error)) from error
    if is_transient(error):
        raise error


# Options of a durable step: every five seconds for some days. Longer waits end with the workflow given up.
RETRY_TRANSIENT: Final[dict[str, Any]] = {
    "retries_allowed": True,
    "interval_seconds": 5.0,
    "backoff_rate": 1.0,
    "max_attempts": 100_000,
    "should_retry": retry_later,
}

"""What passes by itself, or with room made: a full disk, a database that is away. A step waits for it to be over."""

from __future__ import annotations

import errno
from typing import Any, Final

import sqlalchemy as sa
import structlog

from voxtell_dicom.errors import VoxtellDicomError

NO_SPACE: Final = "no-space"  # the code by which the worker tells it
# The last: two wrote the same row at once; next time it is found.
_DATABASE: Final = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.IntegrityError)

log = structlog.get_logger(__name__)


def no_space(error: BaseException) -> bool:
    """Whether a disk is full or a quota is used up."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def passes(error: BaseException) -> bool:
    """Whether the step that raised this is worth trying again later, as it is. Says so in the log."""
    passing = no_space(error) or isinstance(error, _DATABASE)
    if passing:
        reason = str(getattr(error, "orig", None) or error)
        log.warning("no room, or no database: the work waits", reason=reason)
    return passing


def let_pass(error: Exception) -> None:
    """Raise again what passes by itself, for the step to be tried again; return where it is a failure."""
    if isinstance(error, VoxtellDicomError) and error.code == NO_SPACE:
        raise OSError(errno.ENOSPC, str(error)) from error
    if no_space(error) or isinstance(error, _DATABASE):
        raise error


# Options of a step that waits: every five seconds for some days. Longer waits end with the workflow given up.
PATIENT: Final[dict[str, Any]] = {
    "retries_allowed": True,
    "interval_seconds": 5.0,
    "backoff_rate": 1.0,
    "max_attempts": 100_000,
    "should_retry": passes,
}

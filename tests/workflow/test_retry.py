"""Which troubles a step waits for, and which are failures."""

from __future__ import annotations

import errno

import pytest
import sqlalchemy as sa

from voxtell_dicom.errors import Refusal
from voxtell_dicom.retry import is_transient, reraise_if_transient
from voxtell_dicom.workers.pool import WorkerRefused

AWAY = sa.exc.OperationalError("INSERT …", {}, Exception("database or disk is full"))


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), OSError(errno.EDQUOT, "quota"), AWAY])
def test_a_full_disk_and_an_absent_database_are_waited_for(error: Exception) -> None:
    assert is_transient(error)
    with pytest.raises(type(error)):
        reraise_if_transient(error)


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "not ours"), ValueError("x"), Refusal("no-pixels", "none")])
def test_everything_else_is_a_failure(error: Exception) -> None:
    assert not is_transient(error)
    reraise_if_transient(error)


def test_the_workers_full_disk_becomes_one_of_ours() -> None:
    with pytest.raises(OSError, match="full") as raised:
        reraise_if_transient(WorkerRefused("the disk is full", "no-space"))
    assert is_transient(raised.value)
    reraise_if_transient(WorkerRefused("out of memory", "crash"))

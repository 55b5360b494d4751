"""When `study` looks at a study: once it is quiet.

A look belongs to one state of the study: the versions of its series. While a series of it is still on its way, the look
is put off; where the state has changed meanwhile, the look at the new state takes over. Every state is looked at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import structlog

from voxtell_dicom.archive.summary import SeriesSummary
from voxtell_dicom.errors import VoxtellDicomError
from voxtell_dicom.line.plan import job_id
from voxtell_dicom.model import Series, canonical_digest
from voxtell_dicom.retry import reraise_if_transient
from voxtell_dicom.workflow.runtime import FORMAT, Runtime
from voxtell_dicom.workflow.study_choice import StudyChoice

log = structlog.get_logger(__name__)


def look_input(runtime: Runtime, study_uid: str, again: str = "") -> dict[str, Any]:
    """The input of a look at the study as it lies in the spool now. again: why one more look at a state is due."""
    return {
        "v": FORMAT,
        "study_uid": study_uid,
        "state": _state_of(study_uid, _kept(runtime, study_uid)),
        "again": again,
        "attempt": 0,
    }


def look_at_study(
    runtime: Runtime, data: dict[str, Any], in_process: Callable[[Sequence[SeriesSummary]], bool]
) -> dict[str, Any]:
    """Look at a study. in_process: whether `process` has not ended for any of these series.

    Returns the inputs of ``segment``, and the input of the ``next`` look, None where none is due, with its ``delay_s``.
    """
    study_uid, quiet_s = data["study_uid"], runtime.config.receive.quiet_s
    kept = _kept(runtime, study_uid)
    if not kept:
        return _outcome()  # dropped meanwhile
    now = look_input(runtime, study_uid, data["again"])
    if now["state"] != data["state"]:
        return _outcome(following=now, delay_s=quiet_s)
    quiet_at = max(each.last_arrived for each in kept) + 2 * quiet_s  # complete, and as long again without another one
    busy, now_s = any(not each.handed_on for each in kept), runtime.archive.now()
    if busy or in_process(kept) or now_s < quiet_at:
        delay_s = quiet_s if busy else min(quiet_s, max(0.1, quiet_at - now_s))
        return _outcome(following={**data, "attempt": data["attempt"] + 1}, delay_s=delay_s)
    series = [found for each in kept if (found := _series_of(runtime, each))]
    try:
        return _outcome(StudyChoice(runtime, study_uid, series).segment())
    except VoxtellDicomError as error:
        reason = f"{error.code}: {error}"
    except Exception as error:
        reraise_if_transient(error)
        log.exception("study failed", study_uid=study_uid)
        reason = f"unexpected {type(error).__name__}: {error}"
    for each in series:
        if runtime.jobs.state(job_id(each.series_uid, each.version)) == "waiting":
            runtime.jobs.reopen(job_id(each.series_uid, each.version), "failed", reason)
    log.error("study failed", study_uid=study_uid, reason=reason)
    return _outcome()


def _outcome(
    segment: Sequence[dict[str, Any]] = (), following: dict[str, Any] | None = None, delay_s: float = 0
) -> dict[str, Any]:
    return {"v": FORMAT, "segment": list(segment), "next": following, "delay_s": delay_s}


def _kept(runtime: Runtime, study_uid: str) -> list[SeriesSummary]:
    """The series of a study that start work, by UID."""
    return [each for each in runtime.archive.study(study_uid) if each.starts]


def _state_of(study_uid: str, kept: Sequence[SeriesSummary]) -> str:
    return canonical_digest([study_uid, [[each.series_uid, each.version] for each in kept]])[:32]


def _series_of(runtime: Runtime, kept: SeriesSummary) -> Series | None:
    """A series as it was handed on: only the job book remembers what was missing from it then."""
    series = runtime.archive.series(kept.series_uid)
    booked = runtime.jobs.find(series_uid=kept.series_uid, limit=1000)
    incomplete = [job["series"]["incomplete"] for job in booked if job["series_version"] == kept.version]
    return replace(series, incomplete=next(iter(incomplete), "")) if series else None

"""When `study` looks at a study: once it is quiet.

A look belongs to one state of the study: the versions of its series. While a series of it is still on its way, the look
is put off; where the state has changed meanwhile, the look at the new state takes over. Every state is looked at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from voxtell_dicom.archive.summary import SeriesSummary
from voxtell_dicom.jobs.sentences import sentence
from voxtell_dicom.line.plan import job_id
from voxtell_dicom.model import JobState, Series, canonical_digest
from voxtell_dicom.retry import reraise_if_transient
from voxtell_dicom.workflow.messages import FORMAT, SegmentMessage, StudyMessage
from voxtell_dicom.workflow.runtime import Runtime, reason_of
from voxtell_dicom.workflow.study_choice import StudyChoice

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Look:
    """Result of a look at a study: messages to `segment`, and the next look, None if none is due."""

    segment: Sequence[SegmentMessage] = ()
    following: StudyMessage | None = None
    delay_s: float = 0

    def written(self) -> dict[str, Any]:
        """Return it as JSON."""
        following = self.following.written() if self.following else None
        segment = [message.written() for message in self.segment]
        return {"v": FORMAT, "segment": segment, "next": following, "delay_s": self.delay_s}


def look_input(runtime: Runtime, study_uid: str, again: str = "") -> StudyMessage:
    """The message for a look at the study as it lies in the spool now. again: why one more look at a state is due."""
    return StudyMessage(study_uid, _state_of(study_uid, _kept(runtime, study_uid)), again)


def look_at_study(
    runtime: Runtime, message: StudyMessage, in_process: Callable[[Sequence[SeriesSummary]], bool]
) -> Look:
    """Look at a study. in_process: whether `process` has not ended for any of these series."""
    study_uid, quiet_s = message.study_uid, runtime.config.receive.quiet_s
    kept = _kept(runtime, study_uid)
    if not kept:
        return Look()  # dropped meanwhile
    now = look_input(runtime, study_uid, message.again)
    if now.state != message.state:
        return Look(following=now, delay_s=quiet_s)
    quiet_at = max(each.last_arrived for each in kept) + 2 * quiet_s  # complete, and as long again without another one
    busy, now_s = any(not each.handed_on for each in kept), runtime.archive.now()
    if busy or in_process(kept) or now_s < quiet_at:
        delay_s = quiet_s if busy else min(quiet_s, max(0.1, quiet_at - now_s))
        return Look(following=message.next(), delay_s=delay_s)
    series = [found for each in kept if (found := _series_of(runtime, each))]
    try:
        return Look(StudyChoice(runtime, study_uid, series).segment())
    except Exception as error:
        reraise_if_transient(error)
        reason = reason_of(error)
        if reason.code == "unexpected":
            log.exception("study failed", study_uid=study_uid)
    for each in series:
        if runtime.jobs.state(job_id(each.series_uid, each.version)) == JobState.WAITING:
            runtime.jobs.reopen(job_id(each.series_uid, each.version), JobState.FAILED, reason)
    log.error("study failed", study_uid=study_uid, reason=sentence(reason))
    return Look()


def _kept(runtime: Runtime, study_uid: str) -> list[SeriesSummary]:
    """The series of a study that start work, by UID."""
    return [each for each in runtime.archive.study(study_uid) if each.starts]


def _state_of(study_uid: str, kept: Sequence[SeriesSummary]) -> str:
    return canonical_digest([study_uid, [[each.series_uid, each.version] for each in kept]])[:32]


def _series_of(runtime: Runtime, kept: SeriesSummary) -> Series | None:
    """A series as it was handed on: only the job book remembers what was missing from it then."""
    series = runtime.archive.series(kept.series_uid)
    handed_on = runtime.jobs.series(kept.series_uid, kept.version)
    return replace(series, incomplete=handed_on.incomplete) if series and handed_on else series

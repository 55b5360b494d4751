"""What `publish` does: encode the results of one plan, once, and decide whether they may leave."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from voxtell_dicom.check import findings, gates
from voxtell_dicom.check.selfcheck import Finding
from voxtell_dicom.config import OnWarning
from voxtell_dicom.encode import encode
from voxtell_dicom.errors import VoxtellDicomError
from voxtell_dicom.line.masks import load_found
from voxtell_dicom.model import Found, JobState, Plan, Reason, Result, Volume
from voxtell_dicom.retry import let_pass
from voxtell_dicom.workflow.messages import DeliverMessage, deliveries
from voxtell_dicom.workflow.runtime import Runtime

RELEASED = "held for a person to look at before it was sent"  # in what is sent only then

log = structlog.get_logger(__name__)


def publish_plan(runtime: Runtime, job: str) -> list[DeliverMessage]:
    """Encode a job's masks. Returns the messages to `deliver`: none where nothing was found, or the job is held."""
    began = time.time()
    if not runtime.jobs.advance(job, JobState.ENCODING):
        return []
    plan, volume, found, verdict = material(runtime, job)
    minor = _minor(volume, findings.load(runtime.masks(job)))
    try:
        results = encode(plan, volume, found, config=runtime.config, directory=runtime.results_dir, minor=minor)
    except VoxtellDicomError as error:
        runtime.fail([job], error)
        return []
    except Exception as error:
        let_pass(error)
        log.exception("encoding failed", job=job)
        runtime.fail([job], error)
        return []
    # Before it leaves: a PACS that forwards what it stores must not make us work on our own results.
    runtime.remember_own([uid for result in results for uid in (result.sop_instance_uid, result.series_uid)])
    empty = gates.empty(found)
    results = [replace(result, empty=tuple(empty)) for result in results]
    warnings = dict.fromkeys(volume.warnings)
    for result in results:
        warnings |= dict.fromkeys(result.warnings)
    if not results:
        warnings.pop(RELEASED, None)
    runtime.jobs.record_results(job, results, empty, list(warnings))
    runtime.jobs.record_stage(job, "encode", began, time.time() - began, gates.confidence(found))
    if empty:
        log.info("nothing found for some prompts", job=job, empty=empty)
    if left_out := gates.notes(found):
        log.warning("segments left out", job=job, left_out=left_out)
    return _send_or_hold(runtime, job, plan, results, verdict, gates.nothing(len(found), empty))


def material(runtime: Runtime, job: str) -> tuple[Plan, Volume, tuple[Found, ...], Verdict]:
    """What a job is encoded from: plan, volume with its warnings, what was found; and what the rule does with it."""
    plan, volume = runtime.jobs.plan(job)
    found = gates.leave_out(plan, load_found(runtime.masks(job)))
    against = findings.without(findings.load(runtime.masks(job)), found)
    verdict = _verdict(runtime, plan, against)
    if verdict.action == "hold" and verdict.incomplete and not any(item.mask.voxels for item in found):
        verdict = Verdict()  # there is no segment that a slice too few has spoilt
    notes = gates.notes(found) + ([RELEASED] if verdict.action == "hold" else [])
    return plan, findings.noted(volume, against, notes), found, verdict


def _minor(volume: Volume, against: Sequence[Finding]) -> list[str]:
    """Warnings that alone are no problem: most scans cut an aorta, and some archives compress all that they keep."""
    cut = [str(finding) for finding in against if finding.kind == "edge"]
    return [*cut, *volume.warnings_of("lossy")]


@dataclass(frozen=True)
class Verdict:
    """What the rule does with the result: "deliver", "hold" or "drop", and the sentences that say why."""

    action: str = "deliver"
    why: tuple[str, ...] = ()
    incomplete: bool = False  # for this reason


def _verdict(runtime: Runtime, plan: Plan, against: Sequence[Finding]) -> Verdict:
    rule = next((rule for rule in runtime.config.rules if rule.name == plan.rule), None)
    on_warning = (rule.on_warning if rule else OnWarning()).model_dump()
    if rule and rule.empty == "hold" and on_warning["empty"] == "deliver":
        on_warning["empty"] = "hold"
    action, why = findings.verdict(against, on_warning)
    of_incomplete = on_warning["incomplete"] if plan.options.incomplete else "deliver"
    if findings.SEVERITY.index(of_incomplete) > findings.SEVERITY.index(action):
        return Verdict(of_incomplete, (f"the series is incomplete ({plan.options.incomplete})",), incomplete=True)
    return Verdict(action, why)


def _send_or_hold(
    runtime: Runtime, job: str, plan: Plan, results: Sequence[Result], verdict: Verdict, nothing: str
) -> list[DeliverMessage]:
    """nothing: the words for a result without an object."""
    why = {"findings": list(verdict.why)}
    if verdict.action == "drop":
        runtime.jobs.advance(job, JobState.DROPPED, Reason("dropped-by-rule", why))
    elif verdict.action == "hold":
        runtime.jobs.advance(job, JobState.HELD, Reason("held", why))
    elif not results:
        runtime.jobs.advance(job, JobState.EMPTY, Reason("nothing-to-send", {"nothing": nothing}))
    elif not plan.send_to:
        runtime.jobs.advance(job, JobState.KEPT, Reason("no-peer"))
    elif runtime.jobs.advance(job, JobState.DELIVERING):
        return deliveries(job, results, plan.send_to)
    return []

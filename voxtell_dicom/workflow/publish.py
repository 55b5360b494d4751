"""What `publish` does: encode the results of one plan, once, and decide whether they may leave."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import structlog

from voxtell_dicom.check import findings, gates
from voxtell_dicom.check.selfcheck import Finding
from voxtell_dicom.config import OnWarning
from voxtell_dicom.encode import encode
from voxtell_dicom.errors import VoxtellDicomError
from voxtell_dicom.line.masks import load_found
from voxtell_dicom.model import Found, Plan, Result, Volume
from voxtell_dicom.retry import let_pass
from voxtell_dicom.workflow.deliver import delivery_inputs
from voxtell_dicom.workflow.runtime import Runtime

INCOMPLETE = "the series is incomplete"
DROPPED = "the rule drops a result with this finding"
RELEASED = "held for a person to look at before it was sent"  # in what is sent only then

log = structlog.get_logger(__name__)


def publish_plan(runtime: Runtime, job: str) -> list[dict[str, Any]]:
    """Encode a job's masks. Returns the inputs of `deliver`: none where nothing was found, or the job is held."""
    began = time.time()
    if not runtime.jobs.advance(job, "encoding"):
        return []
    plan, volume, found, action, why = material(runtime, job)
    minor = _minor(volume, findings.load(runtime.masks(job)))
    try:
        results = encode(plan, volume, found, config=runtime.config, directory=runtime.results_dir, minor=minor)
    except VoxtellDicomError as error:
        runtime.fail([job], f"{error.code}: {error}")
        return []
    except Exception as error:
        let_pass(error)
        log.exception("encoding failed", job=job)
        runtime.fail([job], f"unexpected {type(error).__name__}: {error}")
        return []
    # Before it leaves: a PACS that forwards what it stores must not make us work on our own results.
    runtime.archive.remember_own([uid for result in results for uid in (result.sop_instance_uid, result.series_uid)])
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
    return _send_or_hold(runtime, job, plan, results, action, why, gates.nothing(len(found), empty))


def material(runtime: Runtime, job: str) -> tuple[Plan, Volume, tuple[Found, ...], str, str]:
    """What a job is encoded from: plan, volume with its warnings, what was found; and what the rule does with it."""
    plan, volume = runtime.jobs.plan(job)
    found = gates.leave_out(plan, load_found(runtime.masks(job)))
    against = findings.without(findings.load(runtime.masks(job)), found)
    action, why = _verdict(runtime, plan, against)
    if action == "hold" and why.startswith(INCOMPLETE) and not any(item.mask.voxels for item in found):
        action, why = "deliver", ""  # there is no segment that a slice too few has spoilt
    notes = gates.notes(found) + ([RELEASED] if action == "hold" else [])
    return plan, findings.noted(volume, against, notes), found, action, why


def _minor(volume: Volume, against: Sequence[Finding]) -> list[str]:
    """Warnings that alone are no problem: most scans cut an aorta, and some archives compress all that they keep."""
    cut = [str(finding) for finding in against if finding.kind == "edge"]
    return [*cut, *(said for said in volume.warnings if said.startswith("lossy:"))]


def _verdict(runtime: Runtime, plan: Plan, against: Sequence[Finding]) -> tuple[str, str]:
    """What the rule does with the result ("deliver", "hold" or "drop"), and why, "" where it is delivered."""
    rule = next((rule for rule in runtime.config.rules if rule.name == plan.rule), None)
    on_warning = (rule.on_warning if rule else OnWarning()).model_dump()
    if rule and rule.empty == "hold" and on_warning["empty"] == "deliver":
        on_warning["empty"] = "hold"
    action, why = findings.verdict(against, on_warning)
    of_incomplete = on_warning["incomplete"] if "incomplete" in plan.options else "deliver"
    if findings.SEVERITY.index(of_incomplete) > findings.SEVERITY.index(action):
        return of_incomplete, f"{INCOMPLETE} ({plan.options['incomplete']})"
    return action, why


def _send_or_hold(
    runtime: Runtime, job: str, plan: Plan, results: Sequence[Result], action: str, why: str, nothing: str
) -> list[dict[str, Any]]:
    """why: the reason to hold or drop. nothing: that of a result without an object."""
    if action == "drop":
        runtime.jobs.advance(job, "dropped", f"{DROPPED}: {why}")
    elif action == "hold":
        runtime.jobs.advance(job, "held", f"{why}: look at it, then `jobs release` or `jobs drop`")
    elif not results:
        runtime.jobs.advance(job, "empty", f"{nothing}: there is no object to send")
    elif not plan.send_to:
        runtime.jobs.advance(job, "kept", "the rule names no peer in send_to; the result lies in the storage folder")
    elif runtime.jobs.advance(job, "delivering"):
        return delivery_inputs(job, results, plan.send_to)
    return []

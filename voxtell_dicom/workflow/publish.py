"""What `publish` does: encode the results of one plan, once, and decide whether they may leave."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import structlog

from voxtell_dicom.config import OnWarning
from voxtell_dicom.encode import encode
from voxtell_dicom.errors import VoxtellDicomError
from voxtell_dicom.model import Plan, Result
from voxtell_dicom.workflow import findings
from voxtell_dicom.workflow.deliver import delivery_inputs
from voxtell_dicom.workflow.masks import load_found
from voxtell_dicom.workflow.patience import let_pass
from voxtell_dicom.workflow.runtime import Runtime

log = structlog.get_logger(__name__)


def publish_plan(runtime: Runtime, job: str) -> list[dict[str, Any]]:
    """Encode a job's masks. Returns the inputs of `deliver`: none where nothing was found, or the job is held."""
    began = time.time()
    if not runtime.jobs.advance(job, "encoding"):
        return []
    plan, volume = runtime.jobs.plan(job)
    found = load_found(runtime.masks(job))
    against = findings.load(runtime.masks(job))
    volume = findings.noted(volume, against)
    try:
        results = encode(plan, volume, found, config=runtime.config, directory=runtime.results_dir)
    except VoxtellDicomError as error:
        runtime.fail([job], f"{error.code}: {error}")
        return []
    except Exception as error:
        let_pass(error)
        log.exception("encoding failed", job=job)
        runtime.fail([job], f"unexpected {type(error).__name__}: {error}")
        return []
    # Before it leaves: a PACS that forwards what it stores must not make us work on our own results.
    runtime.remember_own([uid for result in results for uid in (result.sop_instance_uid, result.series_uid)])
    empty = [item.prompt.label for item in found if not item.mask.voxels]
    warnings = dict.fromkeys(volume.warnings)
    for result in results:
        warnings |= dict.fromkeys(result.warnings)
    runtime.jobs.record_results(job, results, empty, list(warnings))
    runtime.jobs.record_stage(job, "encode", began, time.time() - began)
    if empty:
        log.info("nothing found for some prompts", job=job, empty=empty)
    return _send_or_hold(runtime, job, plan, results, findings.verdict(against, _on_warning(runtime, plan)))


def tidy(runtime: Runtime, job: str) -> None:
    """Drop the masks, once the encoding that needs them is on record."""
    runtime.masks(job).unlink(missing_ok=True)
    findings.beside(runtime.masks(job)).unlink(missing_ok=True)


def _on_warning(runtime: Runtime, plan: Plan) -> dict[str, str]:
    rule = next((rule for rule in runtime.config.rules if rule.name == plan.rule), None)
    return (rule.on_warning if rule else OnWarning()).model_dump()


def _send_or_hold(
    runtime: Runtime, job: str, plan: Plan, results: Sequence[Result], verdict: tuple[str, str]
) -> list[dict[str, Any]]:
    action, why = verdict
    if not results:
        runtime.jobs.advance(job, "empty", "no prompt found anything: there is no object to send")
    elif action == "drop":
        runtime.jobs.advance(job, "dropped", f"the rule drops a result with this finding: {why}")
    elif action == "hold":
        runtime.jobs.advance(job, "held", f"{why}: look at it, then `jobs release` or `jobs drop`")
    elif "incomplete" in plan.options and _on_warning(runtime, plan)["incomplete"] == "hold":
        reason = f"the series is incomplete ({plan.options['incomplete']}): `jobs release` or `jobs drop`"
        runtime.jobs.advance(job, "held", reason)
    elif not plan.send_to:
        runtime.jobs.advance(job, "kept", "the rule names no peer in send_to; the result lies in the storage folder")
    elif runtime.jobs.advance(job, "delivering"):
        return delivery_inputs(job, results, plan.send_to)
    return []

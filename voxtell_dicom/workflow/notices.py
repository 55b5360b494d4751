"""Receipts of what gave no result: series that a rule wants and that were refused; jobs that failed, are held, dropped.

What became of the work is read from the job book, so that a receipt is made once for each state, whatever repeats it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pydicom
import structlog
from pydicom.dataset import Dataset

from voxtell_dicom.config import Rule
from voxtell_dicom.encode import ENCODER_REVISION, Notice, encode_notice
from voxtell_dicom.errors import VoxtellDicomError
from voxtell_dicom.jobs.records import Job
from voxtell_dicom.jobs.sentences import sentence
from voxtell_dicom.line.plan import facts_of
from voxtell_dicom.model import JobState, Plan, PlanOptions, Reason, Series
from voxtell_dicom.retry import reraise_if_transient
from voxtell_dicom.rules import prompts
from voxtell_dicom.rules.refused import would_match
from voxtell_dicom.workflow.messages import DeliverMessage, NotifyMessage, notices
from voxtell_dicom.workflow.publish import RELEASED
from voxtell_dicom.workflow.runtime import Runtime, study_rules

NOBODYS = ("mixed-patients", "mixed-studies", "mixed-series")  # refusals of series of which nobody knows whose they are

log = structlog.get_logger(__name__)


def notices_due(runtime: Runtime, message: NotifyMessage) -> list[DeliverMessage]:
    """Make the receipts that are due. Returns the messages to `deliver` those that have not arrived.

    Never fails the work that it is about.
    """
    made: list[str] = []
    for job, plan, notice in _due(runtime, message):
        try:
            result = encode_notice(
                plan,
                notice,
                directory=runtime.results_dir,
                series_number_base=runtime.config.node.series_number_base,
                engine=runtime.config.model.engine,
                form=_form(runtime, plan),
            )
        except VoxtellDicomError as error:
            log.warning("no receipt", job=job, rule=plan.rule, outcome=notice.outcome, reason=f"{error.code}: {error}")
            continue
        except Exception as error:
            reraise_if_transient(error)
            log.exception("no receipt", job=job, rule=plan.rule, outcome=notice.outcome)
            continue
        runtime.archive.remember_own([result.sop_instance_uid, result.series_uid])
        runtime.jobs.record_notice(job, result, plan.send_to)
        log.info("receipt", job=job, rule=plan.rule, outcome=notice.outcome, sop_instance_uid=result.sop_instance_uid)
        made.append(job)
    return [item for job in dict.fromkeys(made) for item in notices(runtime.jobs, job)]


def _form(runtime: Runtime, plan: Plan) -> str:
    return next((rule.receipt_as for rule in runtime.config.rules if rule.name == plan.rule), "secondary")


def _due(runtime: Runtime, message: NotifyMessage) -> Iterator[tuple[str, Plan, Notice]]:
    """The id of the job that each receipt belongs to, the plan that it is of, and what it says."""
    if message.jobs:
        jobs = [job for each in message.jobs if (job := runtime.jobs.get(each))]
        yield from (due for job in jobs if (due := _of_job(runtime, job)))
    elif message.study_uid:
        yield from _of_study(runtime, message.study_uid)
    elif series := runtime.jobs.series(message.series_uid, message.version):
        rules = [pair for pair in enumerate(runtime.config.rules) if pair[1].scope == "series"]
        yield from _of_series(runtime, series, rules)


def _of_job(runtime: Runtime, job: Job) -> tuple[str, Plan, Notice] | None:
    """Of a job with a plan, by its state."""
    state, reason, plan = job.state, job.reason, job.plan
    if not plan or state not in (JobState.HELD, JobState.FAILED, JobState.DROPPED):
        return None
    if state == JobState.DROPPED and reason.code != "dropped-by-rule":
        return None  # by hand
    rule = next((rule for rule in runtime.config.rules if rule.name == plan.rule), None)
    if rule is None or rule.receipt == "never":
        return None
    said_already = {RELEASED, *reason.parameters.get("findings", ())}
    more = [said for said in job.warnings if state != JobState.FAILED and said not in said_already]
    reasons = (_in_words(reason, job.id), *more)
    said = [(prompt.label, _became(job, prompt.label)) for prompt in plan.prompts]
    plan = replace(plan, outputs=("receipt",), options=replace(plan.options, outcome=str(state), reasons=reasons))
    volume = runtime.jobs.plan(job.id)[1]
    paths = tuple(dict.fromkeys(frame.path for frame in volume.frames))
    return job.id, plan, Notice(str(state), reasons, tuple(said), job.study_uid, job.series_uid, paths)


def _became(job: Job, label: str) -> str:
    if job.state == JobState.FAILED:
        return "no result"
    if any(label in result.labels for result in job.results):
        return f"found, {job.state}"
    return "NOT FOUND" if label in job.empty else "LEFT OUT"


def _of_series(
    runtime: Runtime, series: Series, rules: Sequence[tuple[int, Rule]]
) -> Iterator[tuple[str, Plan, Notice]]:
    """Of a series of which something was refused, for each rule that wants it."""
    every = runtime.jobs.find(series_uid=series.series_uid, limit=1000)
    without = [
        job
        for job in sorted(every, key=lambda job: job.id)
        if job.series_version == series.version and not job.plan and job.state in (JobState.REFUSED, JobState.FAILED)
    ]
    wanting = [(index, rule) for index, rule in rules if rule.receipt != "never"]
    if not without or not wanting:
        return
    if any(job.reason.parameters.get("code") in NOBODYS for job in without):
        log.warning("no receipt: nobody knows whose it would be", series_uid=series.series_uid, job=without[0].id)
        return
    paths = tuple(instance.path for instance in series.instances)
    met = {found.index for found in would_match([rule for _, rule in wanting], _headers(paths), facts_of(series))}
    older = {job.series_version for job in every} - {series.version}
    for position, (index, rule) in enumerate(wanting):
        about = [job for job in without if _concerns(job.reason, rule)]
        if position not in met or not about:
            continue
        outcome = "refused" if any(job.state == JobState.REFUSED for job in about) else "failed"
        reasons = tuple(_in_words(job.reason, job.id) for job in about)
        plan = Plan(
            volume_key=f"series {series.series_uid} {series.version}",
            rule=rule.name,
            rule_index=index,
            prompts=prompts(rule),
            outputs=("receipt",),
            send_to=tuple(rule.send_to),
            engine_identity=runtime.pool.identity(),
            encoder_revision=ENCODER_REVISION,
            options=PlanOptions(version=len(older) + 1 if older else None, outcome=outcome, reasons=reasons),
        )
        said = tuple((prompt.label, "not searched") for prompt in plan.prompts)
        yield about[0].id, plan, Notice(outcome, reasons, said, series.study_uid, series.series_uid, paths)


def _of_study(runtime: Runtime, study_uid: str) -> Iterator[tuple[str, Plan, Notice]]:
    """Of a study in which a rule of scope study found nothing to choose, and something was refused that it wants."""
    every = runtime.jobs.find(study_uid=study_uid, limit=1000)
    served = {job.plan.rule for job in every if job.plan and job.state != JobState.CANCELLED}
    rules = [(index, rule) for index, rule in study_rules(runtime.config) if rule.name not in served]
    if not rules:
        return
    for summary in runtime.archive.study(study_uid):
        series = runtime.archive.series(summary.series_uid)
        if series is not None:
            yield from _of_series(runtime, series, rules)


def _headers(paths: Sequence[Path]) -> list[Dataset]:
    headers: list[Dataset] = []
    for path in paths:
        try:
            headers.append(pydicom.dcmread(path, stop_before_pixels=True))
        except Exception as error:  # whatever a broken file raises inside the parser: the job says so already
            log.info("not a readable header", path=str(path), error=type(error).__name__)
    return headers


def _concerns(reason: Reason, rule: Rule) -> bool:
    """Return whether a refusal is not only another rule's (of its max_gap, of its SUV)."""
    if reason.parameters.get("code") == "suv" and rule.values != "suv":
        return False
    return reason.parameters.get("rule", "") in ("", rule.name)


def _in_words(reason: Reason, job: str) -> str:
    """A reason as it may stand on a page: of an unexpected error only the kind, as nobody knows what its words hold."""
    return f"unexpected {reason.parameters['kind']}: see job {job}" if reason.code == "unexpected" else sentence(reason)

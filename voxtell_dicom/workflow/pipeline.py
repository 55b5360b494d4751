"""The durable line: `process` → `segment` → `publish` → `deliver`, each a workflow that enqueues the next.

With `recovery.py` and `retention.py` the only importer of DBOS. Inputs and outputs are versioned JSON; a refusal is
a returned outcome, never an exception through DBOS. Workflow ids are made of what is done, so that the same work is
never started twice, however often a series, a crash or a PACS repeats itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog
from dbos import DBOS, DBOSConfig, SetEnqueueOptions, SetWorkflowID

from voxtell_dicom.deliver import deliver as deliver_to
from voxtell_dicom.encode import ENCODER_REVISION, encode
from voxtell_dicom.errors import Refusal, VoxtellDicomError
from voxtell_dicom.model import Outcome, Result, Series, SetAside, dump, load
from voxtell_dicom.workflow import stages
from voxtell_dicom.workflow.jobs import FINAL
from voxtell_dicom.workflow.masks import load_found, save_found
from voxtell_dicom.workflow.runtime import Runtime
from voxtell_dicom.workflow.workers import WorkCancelled, WorkerDied

APPLICATION_VERSION = "1"  # a constant: a changed one would strand pending work
QUEUES = {"process": 2, "segment": 1, "publish": 2, "deliver": 8}
FORMAT = 1
WORKER_ATTEMPTS = 3
PRIORITY = 10  # always set: an unset priority would overtake every set one
SEGMENT_TIMEOUT_S = 4 * 3600.0  # against a hung device, not against slow work

log = structlog.get_logger(__name__)
_runtime: Runtime | None = None


def launch(runtime: Runtime, engine: sa.Engine, executor_id: str) -> None:
    """Start the durable engine in this process, with its queues; unfinished work of `executor_id` goes on."""
    global _runtime
    _runtime = runtime
    settings: DBOSConfig = {
        "name": "voxtell-dicom",
        "system_database_engine": engine,
        "application_version": APPLICATION_VERSION,
        "executor_id": executor_id,
        "log_level": "CRITICAL",
        "run_migrations": True,
    }
    DBOS(config=settings)
    DBOS.listen_queues(list(QUEUES))
    DBOS.launch()
    for name, concurrency in QUEUES.items():
        wanted = runtime.pool.size if name == "segment" else concurrency
        DBOS.register_queue(name, worker_concurrency=wanted, polling_interval_sec=0.2, on_conflict="always_update")


def shut_down(timeout_s: int) -> None:
    """Stop the durable engine; running steps get `timeout_s` seconds to end, the rest goes on after the next start."""
    DBOS.destroy(workflow_completion_timeout_sec=timeout_s)


def submit(series: Series) -> None:
    """Hand a complete series version over. Idempotent for ever: the same version starts nothing twice."""
    _enqueue(process, process_id(series), {"v": FORMAT, "series": dump(series)})


def process_id(series: Series, attempt: int = 0) -> str:
    """The workflow id of a series version."""
    base = f"process:{stages.job_id(series.series_uid, series.version)}"
    return f"{base}:{attempt}" if attempt else base


def deliver_id(sop_instance_uid: str, peer: str, attempt: int) -> str:
    """The workflow id of one delivery attempt."""
    return f"deliver:{sop_instance_uid}:{peer}:{attempt}"


def _enqueue(workflow: Any, workflow_id: str, data: dict[str, Any], delay_s: float | None = None) -> None:
    options = SetEnqueueOptions(priority=PRIORITY, delay_seconds=delay_s)
    with SetWorkflowID(workflow_id), options:
        DBOS.enqueue_workflow(workflow.__name__, workflow, data)


def _get() -> Runtime:
    assert _runtime is not None, "launch() first"
    return _runtime


@DBOS.workflow(name="process", max_recovery_attempts=10)
def process(data: dict[str, Any]) -> dict[str, Any]:
    """Assemble a series and match the rules; one `segment` for each volume that a rule wants."""
    outcome = _process(data)
    for item in outcome["segment"]:
        _enqueue(segment, item["id"], item)
    return outcome


@DBOS.step(name="assemble", retries_allowed=True, max_attempts=5)
def _process(data: dict[str, Any]) -> dict[str, Any]:
    runtime = _get()
    series = load(Series, data["series"])
    began = time.time()
    current = runtime.current_version(series.series_uid)
    if current and current != series.version:
        _note_series(series, "cancelled", "a newer version of the series arrived")
        return {"v": FORMAT, "segment": []}
    options = _supersede(series)
    try:
        planning = stages.plan_series(
            series,
            runtime.config.rules,
            engine_identity=runtime.pool.identity(),
            encoder_revision=ENCODER_REVISION,
            work_dir=runtime.work_dir,
            options=options,
        )
    except Refusal as refusal:
        _note_refusals(series, [SetAside(refusal.code, str(refusal), (refusal.uid,), refused=True)])
        return {"v": FORMAT, "segment": []}
    except VoxtellDicomError as error:
        _note_series(series, "failed", f"{error.code}: {error}")
        return {"v": FORMAT, "segment": []}
    except sa.exc.OperationalError:
        raise
    except Exception as error:
        log.exception("series failed", series_uid=series.series_uid)
        _note_series(series, "failed", f"unexpected {type(error).__name__}: {error}")
        return {"v": FORMAT, "segment": []}
    _note_refusals(series, planning.assembly.set_aside)
    if planning.assembly.volumes and not planning.planned:
        _note_series(series, "unmatched", "no rule matches")
    return {"v": FORMAT, "segment": [_open_jobs(series, planned, options, began) for planned in planning.planned]}


def _supersede(series: Series) -> dict[str, Any]:
    """Cancel what an older version of the series left undelivered; say which delivered results this one replaces."""
    jobs = _get().jobs
    older = [job for job in jobs.find(series_uid=series.series_uid) if job["series_version"] != series.version]
    replaced: list[str] = []
    for job in older:
        if job["state"] not in FINAL and jobs.advance(job["id"], "cancelled", "a newer version of the series arrived"):
            log.info("job cancelled: a newer version of its series arrived", job=job["id"])
        replaced += jobs.delivered_objects(job["id"])
    versions = {job["series_version"] for job in older}
    options: dict[str, Any] = {}
    if versions:
        options["version"] = len(versions) + 1
    if replaced:
        options["supersedes"] = sorted(replaced)
    if series.incomplete:
        options["incomplete"] = series.incomplete
    return options


def _note_series(series: Series, state: str, reason: str) -> None:
    job = stages.job_id(series.series_uid, series.version)
    _open(job, series, state, reason)


def _note_refusals(series: Series, items: Iterable[SetAside]) -> None:
    for item in items:
        state = "refused" if item.refused else "set_aside"
        job = stages.job_id(series.series_uid, series.version, item.code, item.uids)
        _open(job, series, state, f"{item.code}: {item.reason}")


def _open(job: str, series: Series, state: str, reason: str) -> None:
    runtime = _get()
    opened = runtime.jobs.open_job(
        job,
        state=state,
        reason=reason,
        study_uid=series.study_uid,
        series_uid=series.series_uid,
        series_version=series.version,
        series=series,
    )
    if not opened:
        runtime.jobs.reopen(job, state, reason)
    log.info("series " + state, series_uid=series.series_uid, job=job, reason=reason)


def _open_jobs(series: Series, planned: stages.Planned, options: dict[str, Any], began: float) -> dict[str, Any]:
    """One job for each plan of a volume; returns the input of its `segment`."""
    runtime = _get()
    jobs: list[str] = []
    for plan in planned.plans:
        job = plan.key[:16]
        runtime.jobs.open_job(
            job,
            state="queued",
            study_uid=series.study_uid,
            series_uid=series.series_uid,
            series_version=series.version,
            accession=stages.accession_of(planned.volume),
            series=series,
            plan=plan,
            volume=planned.volume,
            warnings=planned.volume.warnings,
            supersedes=options.get("supersedes", ()),
        )
        runtime.jobs.record_stage(job, "assemble", began, time.time() - began)
        log.info("series matched", series_uid=series.series_uid, rule=plan.rule, job=job)
        jobs.append(job)
    return segment_input(planned, jobs)


def segment_input(planned: stages.Planned, jobs: list[str]) -> dict[str, Any]:
    """The input of `segment`, with the id that makes it idempotent."""
    return {
        "v": FORMAT,
        "id": f"segment:{stages.job_id(*jobs)}",
        "jobs": jobs,
        "planned": dump(planned),
    }


@DBOS.workflow(name="segment", max_recovery_attempts=5)
def segment(data: dict[str, Any]) -> dict[str, Any]:
    """One pass of the engine for all plans of a volume; one `publish` for each plan."""
    outcome = _segment(data)
    if outcome["state"] == "segmented":
        for job in data["jobs"]:
            _enqueue(publish, publish_id(job, data["id"]), {"v": FORMAT, "job": job})
    return outcome


@DBOS.step(name="segment")
def _segment(data: dict[str, Any]) -> dict[str, Any]:
    runtime = _get()
    jobs: list[str] = data["jobs"]
    planned = load(stages.Planned, data["planned"])
    began = time.time()
    going = [job for job in jobs if runtime.jobs.advance(job, "segmenting")]
    if not going:
        return {"v": FORMAT, "state": "cancelled"}
    answers = runtime.work_dir / f"{stages.job_id(*jobs)}.answers.json"
    try:
        _run_engine(planned, jobs, answers)
        for plan, job in zip(planned.plans, jobs, strict=True):
            save_found(_masks(job), stages.found_for(plan, planned.volume, answers))
    except WorkCancelled:
        return {"v": FORMAT, "state": "cancelled"}
    except VoxtellDicomError as error:
        return _fail(jobs, f"{error.code}: {error}")
    except Exception as error:
        log.exception("segmentation failed", jobs=jobs)
        return _fail(jobs, f"unexpected {type(error).__name__}: {error}")
    finally:
        answers.unlink(missing_ok=True)
    planned.array.unlink(missing_ok=True)
    for job in jobs:
        runtime.jobs.record_stage(job, "segment", began, time.time() - began)
    return {"v": FORMAT, "state": "segmented"}


def _run_engine(planned: stages.Planned, jobs: list[str], answers: Any) -> None:
    runtime = _get()

    def progress(done: int, total: int) -> None:
        for job in jobs:
            runtime.jobs.record_stage(job, "segment", began, None, f"{done}/{total} windows")

    def cancelled() -> bool:
        return not any(runtime.jobs.is_going(job) for job in jobs)

    for attempt in range(1, WORKER_ATTEMPTS + 1):
        began = time.time()
        try:
            with runtime.pool.borrow() as worker:
                stages.segment_volume(
                    planned, worker, out=answers, timeout_s=SEGMENT_TIMEOUT_S, progress=progress, cancelled=cancelled
                )
            return
        except WorkerDied as error:
            log.warning("worker died", jobs=jobs, attempt=attempt, reason=str(error))
            if attempt == WORKER_ATTEMPTS:
                raise


def _fail(jobs: list[str], reason: str) -> dict[str, Any]:
    for job in jobs:
        _get().jobs.advance(job, "failed", reason)
    log.error("jobs failed", jobs=jobs, reason=reason)
    return {"v": FORMAT, "state": "failed", "reason": reason}


def publish_id(job: str, segment_id: str) -> str:
    """The workflow id of the encoding that follows a pass; a pass repeated by `jobs retry` is followed by its own."""
    return f"publish:{job}:{segment_id.rpartition(':')[2]}"


@DBOS.workflow(name="publish", max_recovery_attempts=5)
def publish(data: dict[str, Any]) -> dict[str, Any]:
    """Encode the results of one plan, once; one `deliver` for each object and peer."""
    outcome = _publish(data)
    _tidy(data["job"])
    for item in outcome["deliver"]:
        _enqueue(deliver, deliver_id(item["result"]["sop_instance_uid"], item["peer"], item["attempt"]), item)
    return outcome


@DBOS.step(name="encode")
def _publish(data: dict[str, Any]) -> dict[str, Any]:
    runtime = _get()
    job: str = data["job"]
    began = time.time()
    if not runtime.jobs.advance(job, "encoding"):
        return {"v": FORMAT, "deliver": []}
    plan, volume = runtime.jobs.plan(job)
    found = load_found(_masks(job))
    try:
        results = encode(plan, volume, found, config=runtime.config, directory=runtime.results_dir)
    except VoxtellDicomError as error:
        _fail([job], f"{error.code}: {error}")
        return {"v": FORMAT, "deliver": []}
    except Exception as error:
        log.exception("encoding failed", job=job)
        _fail([job], f"unexpected {type(error).__name__}: {error}")
        return {"v": FORMAT, "deliver": []}
    runtime.remember_own([uid for result in results for uid in (result.sop_instance_uid, result.series_uid)])
    empty = [item.prompt.label for item in found if not item.mask.voxels]
    warnings = tuple(dict.fromkeys((*volume.warnings, *stages.results_warnings(results))))
    runtime.jobs.record_results(job, results, empty, warnings)
    runtime.jobs.record_stage(job, "encode", began, time.time() - began)
    if empty:
        log.info("nothing found for some prompts", job=job, empty=empty)
    return {"v": FORMAT, "deliver": _send_or_hold(job, results)}


def _masks(job: str) -> Path:
    return _get().work_dir / f"{job}.found.json"


@DBOS.step(name="tidy")
def _tidy(job: str) -> None:
    """Its own step: the encoding that needs the masks may be repeated until its checkpoint is written."""
    _masks(job).unlink(missing_ok=True)


def _send_or_hold(job: str, results: tuple[Result, ...]) -> list[dict[str, Any]]:
    runtime = _get()
    plan, _ = runtime.jobs.plan(job)
    if not results:
        runtime.jobs.advance(job, "empty", "no prompt found anything: there is no object to send")
    elif "incomplete" in plan.options:
        runtime.jobs.advance(
            job, "held", f"the series is incomplete ({plan.options['incomplete']}): jobs release or drop"
        )
    elif not plan.send_to:
        runtime.jobs.advance(job, "kept", "the rule names no peer in send_to; the result lies in the storage folder")
    elif runtime.jobs.advance(job, "delivering"):
        return delivery_inputs(job, results, plan.send_to)
    return []


def delivery_inputs(
    job: str, results: Iterable[Result], peers: Iterable[str], attempt: int = 1
) -> list[dict[str, Any]]:
    """The inputs of `deliver` for every object and peer."""
    return [
        {"v": FORMAT, "job": job, "result": dump(result), "peer": peer, "attempt": attempt}
        for result in results
        for peer in peers
    ]


@DBOS.workflow(name="deliver", max_recovery_attempts=None)
def deliver(data: dict[str, Any]) -> dict[str, Any]:
    """One attempt to send one object to one peer; enqueues the next where the peer could not take it now."""
    DBOS.set_event("phase", "delivering")  # the fence: raises where another process has taken this workflow over
    outcome = _deliver(data)
    if outcome["state"] == "retry":
        delay_s = stages.retry_delay_s(_get().config, data["attempt"])
        following = {**data, "attempt": data["attempt"] + 1}
        workflow_id = deliver_id(data["result"]["sop_instance_uid"], data["peer"], following["attempt"])
        _enqueue(deliver, workflow_id, following, delay_s)
    return outcome


@DBOS.step(name="send")
def _deliver(data: dict[str, Any]) -> dict[str, Any]:
    runtime = _get()
    job, peer_name, attempt = data["job"], data["peer"], data["attempt"]
    result = load(Result, data["result"])
    if not runtime.jobs.is_going(job):
        return {"v": FORMAT, "state": "cancelled"}
    began = time.time()
    peer = runtime.config.peers.get(peer_name)
    if peer is None:
        outcome = Outcome("failed", "no such peer", f"peer {peer_name!r} is not in node.yaml any more")
    else:
        outcome = deliver_to(result, peer, name=peer_name, calling_ae=runtime.config.node.ae_title)
    outcome = stages.give_up(outcome, runtime.config, runtime.jobs.created(job))
    runtime.jobs.record_delivery(job, result.sop_instance_uid, peer_name, attempt, outcome)
    runtime.jobs.record_stage(job, f"deliver {peer_name} {attempt}", began, time.time() - began, outcome.status)
    runtime.jobs.settle(job)
    report = log.info if outcome.state == "delivered" else log.warning
    report(
        "delivery " + outcome.state,
        job=job,
        peer=peer_name,
        attempt=attempt,
        status=outcome.status,
        sop_instance_uid=result.sop_instance_uid,
        reason=outcome.message,
    )
    return {"v": FORMAT, "state": outcome.state}

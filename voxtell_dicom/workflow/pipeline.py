"""The durable line: `process` → `segment` → `publish` → `deliver`, each a workflow that enqueues the next.

Where node.yaml has rules of scope study, `process` enqueues a look at the `study`, too, which enqueues its `segment`.

Inputs and outputs are versioned JSON that refers to the job book and holds no copy of it (`messages.py`); a refusal is
a returned outcome, never an exception through DBOS. Workflow ids are made of what is done, so that the same work is
never started twice, however often a series, a crash or a PACS repeats itself.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from dbos import DBOS, DBOSConfig, SetEnqueueOptions, SetWorkflowID

from voxtell_dicom.archive.kept import Kept
from voxtell_dicom.model import Series
from voxtell_dicom.retry import PATIENT
from voxtell_dicom.workflow.deliver import retry_delay_s, send
from voxtell_dicom.workflow.fallback import after_refusal, instead, tidy
from voxtell_dicom.workflow.messages import (
    FORMAT,
    DeliverMessage,
    NotifyMessage,
    ProcessMessage,
    PublishMessage,
    SegmentMessage,
    StudyMessage,
    series_of_v1,
)
from voxtell_dicom.workflow.notices import notices_due
from voxtell_dicom.workflow.process import process_series
from voxtell_dicom.workflow.publish import publish_plan
from voxtell_dicom.workflow.runtime import Runtime, study_rules
from voxtell_dicom.workflow.segment import segment_jobs
from voxtell_dicom.workflow.study import look_at_study, look_input

APPLICATION = "voxtell-dicom"
APPLICATION_VERSION = "1"  # a constant: a changed one would strand pending work
QUEUES = {"process": 2, "study": 1, "segment": 1, "publish": 2, "notify": 1, "deliver": 8}
PRIORITY = 10  # always set: an unset priority would overtake every set one

_runtime: Runtime | None = None


def launch(runtime: Runtime, engine: sa.Engine, executor_id: str) -> None:
    """Start the durable engine in this process, with its queues; unfinished work of `executor_id` goes on."""
    global _runtime
    _runtime = runtime
    settings: DBOSConfig = {
        "name": APPLICATION,
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
    _get().jobs.record_series(series)
    message = ProcessMessage(series.series_uid, series.version)
    _enqueue(process, message.id, message.written())


def publish_id(job: str, segment_id: str) -> str:
    """The workflow id of the encoding that follows a pass; a pass repeated by `jobs retry` is followed by its own."""
    return f"publish:{job}:{segment_id.rpartition(':')[2]}"


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
    items = _process(data)
    for item in items:
        _enqueue(segment, item["id"], item)
    if study_rules(_get().config):
        look = _look_input(data)
        _enqueue(study, StudyMessage.read(look).id, look, _get().config.receive.quiet_s)
    message = ProcessMessage.read(data)
    _tell(NotifyMessage(series_uid=message.series_uid, version=message.version).written())
    return {"v": FORMAT, "segment": [item["id"] for item in items]}


@DBOS.step(name="process", **PATIENT)
def _process(data: dict[str, Any]) -> list[dict[str, Any]]:
    if series := series_of_v1(data):
        _get().jobs.record_series(series)
    message = ProcessMessage.read(data)
    stored = _get().jobs.series(message.series_uid, message.version)
    return [item.written() for item in process_series(_get(), stored)] if stored else []


@DBOS.step(name="look_input", **PATIENT)
def _look_input(data: dict[str, Any]) -> dict[str, Any]:
    message = ProcessMessage.read(data)
    series = _get().jobs.series(message.series_uid, message.version)
    again = str(DBOS.workflow_id).removeprefix(message.id)  # `jobs retry` looks at a state that was looked at
    return look_input(_get(), series.study_uid if series else "", again).written()


@DBOS.workflow(name="study", max_recovery_attempts=10)
def study(data: dict[str, Any]) -> dict[str, Any]:
    """Look at a study, once it is quiet; one `segment` for each volume that a rule of scope study chose."""
    look = _study(data)
    for item in look["segment"]:
        _enqueue(segment, item["id"], item)
    if look["next"]:
        _enqueue(study, StudyMessage.read(look["next"]).id, look["next"], look["delay_s"])
    else:
        _tell(NotifyMessage(study_uid=data["study_uid"]).written())
    return {"v": FORMAT, "segment": [item["id"] for item in look["segment"]]}


@DBOS.step(name="study", **PATIENT)
def _study(data: dict[str, Any]) -> dict[str, Any]:
    return look_at_study(_get(), StudyMessage.read(data), _in_process).written()


def _in_process(series: Sequence[Kept]) -> bool:
    """Whether any of these series is still to be assembled: it may yet be refused."""
    going = DBOS.list_workflows(
        workflow_ids=[ProcessMessage(each.series_uid, each.version).id for each in series],
        status=["ENQUEUED", "PENDING", "DELAYED"],
        load_input=False,
        load_output=False,
    )
    return bool(going)


@DBOS.workflow(name="segment", max_recovery_attempts=5)
def segment(data: dict[str, Any]) -> dict[str, Any]:
    """One pass of the engine for all plans of a volume; one `publish` for each plan."""
    state = _segment(data)
    if state == "segmented":
        for job in data["jobs"]:
            _enqueue(publish, publish_id(job, data["id"]), PublishMessage(job).written())
    else:
        _tell(NotifyMessage(jobs=tuple(data["jobs"])).written())
    return {"v": FORMAT, "state": state}


@DBOS.step(name="segment", **PATIENT)
def _segment(data: dict[str, Any]) -> str:
    return segment_jobs(_get(), SegmentMessage.read(data))


@DBOS.workflow(name="publish", max_recovery_attempts=5)
def publish(data: dict[str, Any]) -> dict[str, Any]:
    """Encode the results of one plan, once; one `deliver` for each object and peer."""
    items = _publish(data)
    _tidy(data)
    for item in items:
        _enqueue_delivery(item)
    if not items:
        _tell(NotifyMessage(jobs=(data["job"],)).written())
    return {"v": FORMAT, "objects": len(items)}


@DBOS.step(name="publish", **PATIENT)
def _publish(data: dict[str, Any]) -> list[dict[str, Any]]:
    return [message.written() for message in publish_plan(_get(), PublishMessage.read(data).job)]


@DBOS.step(name="tidy", **PATIENT)
def _tidy(data: dict[str, Any]) -> None:
    tidy(_get(), data["job"])


@DBOS.workflow(name="deliver", max_recovery_attempts=None)
def deliver(data: dict[str, Any]) -> dict[str, Any]:
    """One attempt to send the objects of a series to a peer; enqueues the next, or what goes in its place."""
    DBOS.set_event("phase", "delivering")  # the fence: raises where another process has taken this workflow over
    state = _deliver(data)
    if state == "retry":
        _enqueue_delivery(DeliverMessage.read(data).next().written(), retry_delay_s(_get().config, data["attempt"]))
    if state == "replaced":
        for item in _instead(data):
            _enqueue_delivery(item)
    return {"v": FORMAT, "state": state}


@DBOS.step(name="deliver", **PATIENT)
def _deliver(data: dict[str, Any]) -> str:
    message = DeliverMessage.read(data)
    state = send(_get(), message, after_refusal)
    if state == "delivered" and not message.notice:
        tidy(_get(), message.job)
    return state


@DBOS.step(name="instead", **PATIENT)
def _instead(data: dict[str, Any]) -> list[dict[str, Any]]:
    message = DeliverMessage.read(data)
    return [item.written() for item in instead(_get(), message.job, message.peer, notice=message.notice)]


def _enqueue_delivery(item: dict[str, Any], delay_s: float | None = None) -> None:
    _enqueue(deliver, DeliverMessage.read(item).id, item, delay_s)


@DBOS.workflow(name="notify", max_recovery_attempts=5)
def notify(data: dict[str, Any]) -> dict[str, Any]:
    """Send the receipts of jobs that ended outside of a workflow of theirs."""
    return {"v": FORMAT, "objects": _tell(data)}


def notify_of(job: str) -> None:
    """Have the receipt of a job made that was given up."""
    _enqueue(notify, f"notify:{job}:{time.time_ns()}", NotifyMessage(jobs=(job,)).written())


def _tell(data: dict[str, Any]) -> int:
    """Within a workflow: one `deliver` for each receipt and peer of what gave no result."""
    items = _notices(data)
    for item in items:
        _enqueue_delivery(item)
    return len(items)


@DBOS.step(name="notices", **PATIENT)
def _notices(data: dict[str, Any]) -> list[dict[str, Any]]:
    return [message.written() for message in notices_due(_get(), NotifyMessage.read(data))]

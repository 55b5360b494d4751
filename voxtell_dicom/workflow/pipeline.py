"""The durable line: `process` → `segment` → `publish` → `deliver`, each a workflow that enqueues the next.

Where node.yaml has rules of scope study, `process` enqueues a look at the `study`, too, which enqueues its `segment`.

Inputs and outputs are versioned JSON that refers to the job book (`messages.py`); a refusal is a returned outcome,
never an exception through DBOS. Workflow ids are made of what is done, so that the same work is never started twice,
however often a series, a crash or a PACS repeats itself. DBOS itself gives nothing up (`max_recovery_attempts=None`):
it counts how often the node was killed, which is not the series' fault. What fails by its own fault is counted in
`failures.py`.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
import structlog
from dbos import DBOS, DBOSClient, DBOSConfig, EnqueueOptions, SetEnqueueOptions, SetWorkflowID

from voxtell_dicom.archive.summary import SeriesSummary
from voxtell_dicom.model import Series
from voxtell_dicom.retry import RETRY_TRANSIENT, is_transient, retry_later
from voxtell_dicom.workflow.correction import CORRECTED, replace_job
from voxtell_dicom.workflow.deliver import RE_ENCODE, retry_delay_s, send
from voxtell_dicom.workflow.failures import MAX_FAILURES, WorkflowFailures
from voxtell_dicom.workflow.fallback import encode_again, tidy
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
from voxtell_dicom.workflow.queues import QueueLimits, QueuePoller, active_workflows, waiting
from voxtell_dicom.workflow.runtime import Runtime, study_rules
from voxtell_dicom.workflow.segment import segment_jobs
from voxtell_dicom.workflow.study import look_at_study, look_input

T = TypeVar("T")
APPLICATION = "voxtell-dicom"
APPLICATION_VERSION = "1"  # a constant: a changed one would strand pending work
DELIVERIES = "delivery"  # the queue of `deliver`, one partition per peer: a peer that hangs holds up itself only
DELIVERIES_PER_PEER = 4
QUEUES = {  # name → how many run at once in a node, None: as many as there are workers, or by partition
    "process": 2,
    "study": 1,
    "segment": None,
    "publish": 2,
    "notify": 1,
    DELIVERIES: None,
    "deliver": 4,  # of version 0.1: what it left there is still delivered
}
SERIES_WAITING = 8  # in the queue of `process`; more wait in the archive, where the callers take turns
PRIORITY = 10  # always set: an unset priority would overtake every set one

_runtime: Runtime | None = None
_failures: WorkflowFailures | None = None
_poller: QueuePoller | None = None
_client: DBOSClient | None = None  # enqueues within transactions of others
log = structlog.get_logger(__name__)


def launch(runtime: Runtime, engine: sa.Engine, executor_id: str) -> WorkflowFailures:
    """Start the durable engine in this process, with its queues; unfinished work of `executor_id` goes on.

    Returns the counts of what failed by its own fault.
    """
    global _client, _runtime, _failures, _poller
    _runtime, _failures = runtime, WorkflowFailures(engine)
    settings: DBOSConfig = {
        "name": APPLICATION,
        "system_database_engine": engine,
        "application_version": APPLICATION_VERSION,
        "executor_id": executor_id,
        "log_level": "CRITICAL",
        "run_migrations": True,
    }
    limits = {name: QueueLimits(name, at_once) for name, at_once in QUEUES.items()}
    limits["segment"] = QueueLimits("segment", runtime.pool.size)
    limits[DELIVERIES] = QueueLimits(DELIVERIES, per_partition=DELIVERIES_PER_PEER)
    poller = QueuePoller(list(limits.values()))
    DBOS(config=settings)
    DBOS.listen_queues([])  # but its internal one: the poller polls
    DBOS.launch()
    _client = DBOSClient(system_database_engine=engine, application_name=APPLICATION)
    poller.start()
    _poller = poller
    return _failures


def shut_down(drain_s: float) -> bool:
    """Stop the durable engine; running steps get `drain_s` seconds to end, the rest goes on after the next start.

    Returns whether all have ended. Those that have not still run in threads of this process.
    """
    global _poller
    running: list[str] = []
    if _poller:
        _poller.stop()
        _poller = None
        until = time.monotonic() + drain_s
        while (running := active_workflows()) and time.monotonic() < until:
            time.sleep(0.05)
    if running:
        log.warning("work did not end in time; it goes on after the next start", workflows=sorted(running))
    DBOS.destroy(workflow_completion_timeout_sec=0)
    return not running


def submit(connection: sa.Connection, series: Series) -> None:
    """Enqueue a complete series version within the caller's transaction. The same version starts nothing twice."""
    assert _client is not None, "launch() first"
    _get().jobs.record_series(series, connection)
    message = ProcessMessage(series.series_uid, series.version)
    options: EnqueueOptions = {
        "workflow_name": process.__name__,
        "queue_name": "process",
        "workflow_id": message.id,
        "app_version": APPLICATION_VERSION,
        "priority": PRIORITY,
    }
    _client.enqueue_in_transaction(connection, options, message.written())


def has_room() -> bool:
    """Return whether another series may be submitted now."""
    return waiting("process") < SERIES_WAITING


def publish_id(job: str, segment_id: str) -> str:
    """The workflow id of the encoding that follows a pass; a pass repeated by `jobs retry` is followed by its own."""
    return f"publish:{job}:{segment_id.rpartition(':')[2]}"


def queue_of(workflow: Any, data: dict[str, Any]) -> tuple[str, str | None]:
    """The queue that a workflow with this input goes to, and its partition there."""
    return (DELIVERIES, data["peer"]) if workflow is deliver else (workflow.__name__, None)


def _enqueue(workflow: Any, workflow_id: str, data: dict[str, Any], delay_s: float | None = None) -> None:
    queue, partition = queue_of(workflow, data)
    options = SetEnqueueOptions(priority=PRIORITY, delay_seconds=delay_s, queue_partition_key=partition)
    with SetWorkflowID(workflow_id), options:
        DBOS.enqueue_workflow(queue, workflow, data)
    if _poller and not delay_s:
        _poller.wake(queue)


class _OwnFailure(Exception):
    """A step failed by its own fault, not often enough to be given up."""


def _retry(error: BaseException) -> bool:
    return isinstance(error, _OwnFailure) or retry_later(error)


def _step(name: str) -> Callable[[Callable[[dict[str, Any]], T]], Callable[[dict[str, Any]], T]]:
    """Make a durable step: it waits out what is transient, and is given up after `MAX_FAILURES` faults of its own."""

    def decorate(body: Callable[[dict[str, Any]], T]) -> Callable[[dict[str, Any]], T]:
        @functools.wraps(body)
        def run(data: dict[str, Any]) -> T:
            try:
                return body(data)
            except Exception as error:
                if is_transient(error) or _count_failure() >= MAX_FAILURES:
                    raise
                log.exception("step failed; it is tried again", step=name, workflow=DBOS.workflow_id)
                raise _OwnFailure(str(error)) from error

        return DBOS.step(name=name, **{**RETRY_TRANSIENT, "should_retry": _retry})(run)

    return decorate


def _count_failure() -> int:
    """Count a fault of the workflow that runs here. Returns how many it has now."""
    assert _failures is not None, "launch() first"
    return _failures.add(str(DBOS.workflow_id))


def _get() -> Runtime:
    assert _runtime is not None, "launch() first"
    return _runtime


@DBOS.workflow(name="process", max_recovery_attempts=None)
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


@_step("process")
def _process(data: dict[str, Any]) -> list[dict[str, Any]]:
    if series := series_of_v1(data):
        _get().jobs.record_series(series)
    message = ProcessMessage.read(data)
    stored = _get().jobs.series(message.series_uid, message.version)
    if stored is None:
        log.error("series version is not in the job book", series_uid=message.series_uid, version=message.version[:12])
        return []
    return [item.written() for item in process_series(_get(), stored)]


@_step("look_input")
def _look_input(data: dict[str, Any]) -> dict[str, Any]:
    message = ProcessMessage.read(data)
    series = _get().jobs.series(message.series_uid, message.version)
    again = str(DBOS.workflow_id).removeprefix(message.id)  # `jobs retry` looks at a state that was looked at
    return look_input(_get(), series.study_uid if series else "", again).written()


@DBOS.workflow(name="study", max_recovery_attempts=None)
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


@_step("study")
def _study(data: dict[str, Any]) -> dict[str, Any]:
    return look_at_study(_get(), StudyMessage.read(data), _in_process).written()


def _in_process(series: Sequence[SeriesSummary]) -> bool:
    """Return whether any of these series is still to be assembled: it may yet be refused."""
    going = DBOS.list_workflows(
        workflow_ids=[ProcessMessage(each.series_uid, each.version).id for each in series],
        status=["ENQUEUED", "PENDING", "DELAYED"],
        load_input=False,
        load_output=False,
    )
    return bool(going)


@DBOS.workflow(name="segment", max_recovery_attempts=None)
def segment(data: dict[str, Any]) -> dict[str, Any]:
    """One pass of the engine for all plans of a volume; one `publish` for each plan."""
    state = _segment(data)
    if state == "segmented":
        for job in data["jobs"]:
            _enqueue(publish, publish_id(job, data["id"]), PublishMessage(job).written())
    else:
        _tell(NotifyMessage(jobs=tuple(data["jobs"])).written())
    return {"v": FORMAT, "state": state}


@_step("segment")
def _segment(data: dict[str, Any]) -> str:
    return segment_jobs(_get(), SegmentMessage.read(data), count_failure=_count_failure)


@DBOS.workflow(name="publish", max_recovery_attempts=None)
def publish(data: dict[str, Any]) -> dict[str, Any]:
    """Encode the results of one plan, once; one `deliver` for each object and peer."""
    items = _publish(data)
    _tidy(data)
    for item in items:
        _enqueue_delivery(item)
    if not items:
        _tell(NotifyMessage(jobs=(data["job"],)).written())
    return {"v": FORMAT, "objects": len(items)}


@_step("publish")
def _publish(data: dict[str, Any]) -> list[dict[str, Any]]:
    return [message.written() for message in publish_plan(_get(), PublishMessage.read(data).job)]


@_step("tidy")
def _tidy(data: dict[str, Any]) -> None:
    tidy(_get(), data["job"])


@DBOS.workflow(name="deliver", max_recovery_attempts=None)
def deliver(data: dict[str, Any]) -> dict[str, Any]:
    """One attempt to send the objects of a series to a peer; enqueues the next, or what goes in its place."""
    DBOS.set_event("phase", "delivering")  # the fence: raises where another process has taken this workflow over
    state = _deliver(data)
    if state == "retry":
        _enqueue_delivery(DeliverMessage.read(data).next().written(), retry_delay_s(_get().config, data["attempt"]))
    if state in (RE_ENCODE, "replaced"):
        for item in _encode_again(data):
            _enqueue_delivery(item)
    if state == CORRECTED:
        for item in _replace_job(data):
            _enqueue(segment, item["id"], item)
    return {"v": FORMAT, "state": state}


@_step("replace_job")
def _replace_job(data: dict[str, Any]) -> list[dict[str, Any]]:
    message = replace_job(_get(), DeliverMessage.read(data).job)
    return [message.written()] if message else []


@_step("deliver")
def _deliver(data: dict[str, Any]) -> str:
    message = DeliverMessage.read(data)
    state = send(_get(), message)
    if state == "delivered" and not message.notice:
        tidy(_get(), message.job)
    return state


@_step("instead")  # the name of version 0.1: workflows under way go on
def _encode_again(data: dict[str, Any]) -> list[dict[str, Any]]:
    return [message.written() for message in encode_again(_get(), DeliverMessage.read(data))]


def _enqueue_delivery(item: dict[str, Any], delay_s: float | None = None) -> None:
    _enqueue(deliver, DeliverMessage.read(item).id, item, delay_s)


@DBOS.workflow(name="notify", max_recovery_attempts=None)
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


@_step("notices")
def _notices(data: dict[str, Any]) -> list[dict[str, Any]]:
    return [message.written() for message in notices_due(_get(), NotifyMessage.read(data))]

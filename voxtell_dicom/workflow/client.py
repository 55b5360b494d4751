"""Hands work to the node from another process: the queues of its database."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from dbos import DBOSClient, EnqueueOptions

from voxtell_dicom.workflow import pipeline
from voxtell_dicom.workflow.messages import DeliverMessage, ProcessMessage, SegmentMessage, Written


class QueueClient:
    """The `Enqueue` of `jobs.actions`."""

    def __init__(self, engine: sa.Engine) -> None:
        self._client = DBOSClient(system_database_engine=engine, application_name=pipeline.APPLICATION)

    def process(self, series_uid: str, version: str) -> None:
        """Have a series version looked at once more."""
        message = ProcessMessage(series_uid, version)
        self._enqueue(pipeline.process, f"{message.id}:{time.time_ns()}", message.written())

    def segment(self, job_id: str) -> None:
        """Have a job segmented once more."""
        message = SegmentMessage((job_id,), again=str(time.time_ns()))
        self._enqueue(pipeline.segment, message.id, message.written())

    def deliver(self, job_id: str, uids: Sequence[str], peer: str, attempt: int, *, notice: bool = False) -> None:
        """Have objects of a job sent, now: an attempt that waits for its time waits no longer."""
        message = DeliverMessage(job_id, tuple(uids), peer, attempt, notice)
        waiting = self._client.list_workflows(workflow_ids=[message.id], load_input=False, load_output=False)
        if waiting and waiting[0].status == "DELAYED":
            self._client.set_workflow_delay(message.id, delay_seconds=0)
        else:
            self._enqueue(pipeline.deliver, message.id, message.written())

    def _enqueue(self, workflow: Callable[..., Any], workflow_id: str, data: Written) -> None:
        queue, partition = pipeline.queue_of(workflow, data)
        options: EnqueueOptions = {
            "workflow_name": workflow.__name__,
            "queue_name": queue,
            "workflow_id": workflow_id,
            "app_version": pipeline.APPLICATION_VERSION,
            "priority": pipeline.PRIORITY,
        }
        if partition:
            options["queue_partition_key"] = partition
        self._client.enqueue(options, data)

"""What a person may do to a job, from another process than the node's: retry, rerun, release, drop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from dbos import DBOSClient, EnqueueOptions

from voxtell_dicom.config import Config
from voxtell_dicom.errors import VoxtellDicomError
from voxtell_dicom.jobs.book import ASKED_FOR, JobBook
from voxtell_dicom.line.load import arrays_of, values_of
from voxtell_dicom.line.plan import Planned, with_run
from voxtell_dicom.model import Plan, Result, Series, Volume, dump, load
from voxtell_dicom.workflow import pipeline
from voxtell_dicom.workflow.deliver import delivery_inputs, notice_inputs, uids_of
from voxtell_dicom.workflow.process import segment_input
from voxtell_dicom.workflow.runtime import FORMAT

Job = dict[str, Any]


class JobActions:
    """Acts on the jobs of one database; the node that runs on it does the work."""

    def __init__(self, config: Config, engine: sa.Engine, jobs: JobBook) -> None:
        self._config = config
        self._jobs = jobs
        self._client = DBOSClient(system_database_engine=engine, application_name=pipeline.APPLICATION)

    def retry(self, job: Job) -> str:
        """Do again what did not work: send again, or segment again, or look at the series again. Says which.

        Raises VoxtellDicomError for what is held or dropped: it is not sent behind the back of who decides on it.
        """
        if job["state"] == "held":
            return self._tell(job)
        if job["state"] == "dropped":
            raise VoxtellDicomError(f"job {job['id']} was dropped ({job['reason']}): `jobs rerun` makes a new one")
        if job["results"] and job["plan"]:
            sent = self._send(job, only_undelivered=True)
            return f"sending {sent} object(s) again" if sent else "everything has been delivered already"
        if job["plan"]:
            self._jobs.reopen(job["id"], "queued")
            self._segment(job["id"], load(Plan, job["plan"]), load(Volume, job["volume"]))
            return "segmenting again"
        series = load(Series, job["series"])
        self._enqueue(
            pipeline.process,
            f"{pipeline.process_id(series)}:{time.time_ns()}",
            {"v": FORMAT, "series": dump(series)},
        )
        return "looking at the series again"

    def _tell(self, job: Job) -> str:
        """Send the receipt of a held job again, where it did not arrive; its result is not `retry`'s to send."""
        items = notice_inputs(self._jobs, job["id"])
        for item in items:
            workflow_id = pipeline.deliver_id(item["result"]["sop_instance_uid"], item["peer"], item["attempt"])
            self._enqueue(pipeline.deliver, workflow_id, item)
        if items:
            return f"sending {len(items)} receipt(s) again; the result is held: `jobs release` or `jobs drop`"
        raise VoxtellDicomError(f"job {job['id']} is held: look at it, then `jobs release` or `jobs drop`")

    def rerun(self, job: Job) -> str:
        """Run a plan again as a new run, hence with new UIDs. Returns the id of the new job."""
        if not job["plan"]:
            raise VoxtellDicomError(
                f"job {job['id']} has no plan to run again (state {job['state']}): use `jobs retry`"
            )
        plan = with_run(load(Plan, job["plan"]), job["plan"]["run"] + 1)
        volume, series = load(Volume, job["volume"]), load(Series, job["series"])
        new = plan.key[:16]
        self._jobs.open_job(
            new,
            state="queued",
            study_uid=job["study_uid"],
            series_uid=job["series_uid"],
            series_version=job["series_version"],
            accession=job["accession"],
            series=series,
            plan=plan,
            volume=volume,
            warnings=job["warnings"],
        )
        self._segment(new, plan, volume)
        return new

    def release(self, job: Job) -> str:
        """Deliver a job that is held."""
        if job["state"] != "held":
            raise VoxtellDicomError(f"job {job['id']} is not held (state {job['state']}): there is nothing to release")
        sent = self._send(job, only_undelivered=False)
        if not sent:
            self._jobs.reopen(job["id"], "kept" if job["results"] else "empty", "released: there is nothing to send")
        return f"sending {sent} object(s)"

    def drop(self, job: Job) -> str:
        """Give up a job that is held or under way: nothing of it will be sent from now on."""
        if job["state"] in ("delivered", "dropped"):
            raise VoxtellDicomError(f"job {job['id']} is {job['state']}: there is nothing to drop")
        self._jobs.reopen(job["id"], "dropped", "dropped by hand")
        return "dropped"

    def _segment(self, job_id: str, plan: Plan, volume: Volume) -> None:
        arrays = arrays_of(self._config.node.storage / "work", volume, values_of(plan))
        planned = Planned(volume, (plan,), arrays)
        data = segment_input(planned, [job_id])
        data["id"] += f":{time.time_ns()}"
        self._enqueue(pipeline.segment, data["id"], data)

    def _send(self, job: Job, *, only_undelivered: bool) -> int:
        results = [load(Result, result) for result in job["results"]]
        sent = 0
        for item in delivery_inputs(job["id"], results, job["plan"]["send_to"]):
            uids, peer = uids_of(item), item["peer"]
            there = self._jobs.delivered_to(job["id"], peer) if only_undelivered else set()
            wanted = [uid for uid in uids if uid not in there]
            if not wanted:
                continue
            if not sent:
                self._jobs.reopen(job["id"], "delivering")
            item["attempt"] = max(self._jobs.last_attempt(job["id"], uid, peer) for uid in uids) + 1
            for uid in wanted:
                self._jobs.record_delivery(job["id"], uid, peer, item["attempt"], ASKED_FOR)
            workflow_id = pipeline.deliver_id(uids[0], peer, item["attempt"])
            waiting = self._client.list_workflows(workflow_ids=[workflow_id], load_input=False, load_output=False)
            if waiting and waiting[0].status == "DELAYED":
                self._client.set_workflow_delay(workflow_id, delay_seconds=0)
            else:
                self._enqueue(pipeline.deliver, workflow_id, item)
            sent += len(wanted)
        return sent

    def _enqueue(self, workflow: Callable[..., Any], workflow_id: str, data: dict[str, Any]) -> None:
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

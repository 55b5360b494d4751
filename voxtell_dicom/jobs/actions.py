"""Actions of a person on a job: retry, rerun, release, drop. The command line and the web console call these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from voxtell_dicom.errors import VoxtellDicomError
from voxtell_dicom.jobs.book import JobBook, successor
from voxtell_dicom.jobs.deliveries import by_peer, receipts_due
from voxtell_dicom.jobs.delivery_book import REQUESTED
from voxtell_dicom.jobs.records import Job
from voxtell_dicom.model import JobState, Plan, Reason


class Enqueue(Protocol):
    """Hands work to the node that runs on the same database; `workflow.client` does."""

    def process(self, series_uid: str, version: str) -> None:
        """Have a series version looked at once more."""

    def segment(self, job_id: str) -> None:
        """Have a job segmented once more."""

    def deliver(self, job_id: str, uids: Sequence[str], peer: str, attempt: int, *, notice: bool = False) -> None:
        """Have objects of a job sent, now. notice: they are the receipt of a job without a result."""


@dataclass(frozen=True)
class JobActions:
    """Acts on the jobs of one database; the node that runs on it does the work."""

    jobs: JobBook
    enqueue: Enqueue

    def retry(self, job: Job) -> str:
        """Do again what did not work: send again, or segment again, or look at the series again. Says which.

        Raises VoxtellDicomError for what is held or dropped: it is not sent behind the back of who decides on it.
        """
        if job.state == JobState.HELD:
            return self._send_receipts(job)
        if job.state == JobState.DROPPED:
            raise VoxtellDicomError(f"job {job.id} was dropped ({job.sentence}): `jobs rerun` makes a new one")
        if job.results and job.plan:
            sent = self._send(job, job.plan, only_undelivered=True)
            return f"sending {sent} object(s) again" if sent else "everything has been delivered already"
        if job.plan:
            self.jobs.reopen(job.id, JobState.QUEUED)
            self.enqueue.segment(job.id)
            return "segmenting again"
        self.enqueue.process(job.series_uid, job.series_version)
        return "looking at the series again"

    def _send_receipts(self, job: Job) -> str:
        """Send the receipt of a held job again, where it did not arrive; its result is not `retry`'s to send."""
        due = receipts_due(self.jobs, job.id)
        for uid, peer, attempt in due:
            self.enqueue.deliver(job.id, [uid], peer, attempt, notice=True)
        if due:
            return f"sending {len(due)} receipt(s) again; the result is held: `jobs release` or `jobs drop`"
        raise VoxtellDicomError(f"job {job.id} is held: look at it, then `jobs release` or `jobs drop`")

    def rerun(self, job: Job) -> str:
        """Run a plan again as a new run, hence with new UIDs. Returns the id of the new job."""
        if not job.plan:
            raise VoxtellDicomError(f"job {job.id} has no plan to run again (state {job.state}): use `jobs retry`")
        plan, volume = self.jobs.plan(job.id)
        new = successor(job, replace(plan, run=plan.run + 1), volume)
        self.jobs.open(new)
        self.enqueue.segment(new.id)
        return new.id

    def release(self, job: Job) -> str:
        """Deliver a job that is held."""
        if job.state != JobState.HELD or not job.plan:
            raise VoxtellDicomError(f"job {job.id} is not held (state {job.state}): there is nothing to release")
        sent = self._send(job, job.plan, only_undelivered=False)
        if not sent:
            state = JobState.KEPT if job.results else JobState.EMPTY
            self.jobs.reopen(job.id, state, Reason("released-nothing"))
        return f"sending {sent} object(s)"

    def drop(self, job: Job) -> str:
        """Give up a job that is held or under way: nothing of it will be sent from now on."""
        if job.state in (JobState.DELIVERED, JobState.DROPPED):
            raise VoxtellDicomError(f"job {job.id} is {job.state}: there is nothing to drop")
        self.jobs.reopen(job.id, JobState.DROPPED, Reason("dropped-by-hand"))
        return "dropped"

    def _send(self, job: Job, plan: Plan, *, only_undelivered: bool) -> int:
        sent = 0
        for uids, peer in by_peer(job.results, plan.send_to):
            delivered = self.jobs.delivered_to(job.id, peer) if only_undelivered else set()
            wanted = [uid for uid in uids if uid not in delivered]
            if not wanted:
                continue
            if not sent:
                self.jobs.reopen(job.id, JobState.DELIVERING)
            attempt = max(self.jobs.last_attempt(job.id, uid, peer) for uid in uids) + 1
            for uid in wanted:
                self.jobs.record_delivery(job.id, uid, peer, attempt, REQUESTED)
            self.enqueue.deliver(job.id, uids, peer, attempt)
            sent += len(wanted)
        return sent

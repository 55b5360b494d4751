"""Grouping of deliveries: the objects of one series go in one association, not in hundreds."""

from __future__ import annotations

from collections.abc import Iterable

from voxtell_dicom.jobs.book import JobBook
from voxtell_dicom.model import Result


def by_peer(results: Iterable[Result], send_to: Iterable[str]) -> list[tuple[tuple[str, ...], str]]:
    """Return (SOP Instance UIDs of one series, peer) for every series and peer of its own.

    send_to: the peers of a result that names none.
    """
    everyone = tuple(send_to)
    together: dict[tuple[str, str], list[str]] = {}
    for result in results:
        for peer in result.peers or everyone:
            together.setdefault((result.series_uid, peer), []).append(result.sop_instance_uid)
    return [(tuple(uids), peer) for (_, peer), uids in together.items()]


def receipts_due(jobs: JobBook, job_id: str) -> list[tuple[str, str, int]]:
    """Return (SOP Instance UID, peer, number of the next attempt) of the receipts that have not arrived."""
    return [
        (result.sop_instance_uid, peer, jobs.last_attempt(job_id, result.sop_instance_uid, peer) + 1)
        for result, peer in jobs.untold(job_id)
    ]

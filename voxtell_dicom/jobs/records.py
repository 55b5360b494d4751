"""Values of the job book: a job, its deliveries, its timeline, its receipts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from voxtell_dicom.jobs.sentences import sentence
from voxtell_dicom.model import DeliveryState, JobState, Plan, Reason, Result, load

Paths = Callable[[Any], Any]  # stored JSON, with the paths of this host


@dataclass(frozen=True)
class Delivery:
    """One attempt to send one object to one peer, or the wish for one."""

    sop_instance_uid: str
    peer: str
    attempt: int
    state: DeliveryState
    status: str
    message: str
    warning: bool
    at: float

    @classmethod
    def from_row(cls, row: sa.RowMapping) -> Delivery:
        """Return a row of the table of deliveries as a value."""
        values = {name: value for name, value in row.items() if name != "job_id"}
        return cls(**{**values, "state": DeliveryState(row["state"])})


@dataclass(frozen=True)
class Stage:
    """When a stage of a job began, and how long it took (None: it has not ended)."""

    stage: str
    started: float
    seconds: float | None
    detail: str

    @classmethod
    def from_row(cls, row: sa.RowMapping) -> Stage:
        """Return a row of the table of stages as a value."""
        return cls(**{name: value for name, value in row.items() if name != "job_id"})


@dataclass(frozen=True)
class Notice:
    """A receipt that a job without a result gets, and the peers that are to have it."""

    result: Result
    send_to: tuple[str, ...]

    @classmethod
    def from_row(cls, row: sa.RowMapping, paths: Paths) -> Notice:
        """Return a row of the table of receipts as a value."""
        return cls(load(Result, paths(row["result"])), tuple(row["send_to"]))


@dataclass(frozen=True)
class Job:
    """One plan of one volume; or a series, or a part of one, of which there is none (`plan` is None)."""

    id: str
    state: JobState
    reason: Reason
    rule: str
    study_uid: str
    series_uid: str
    series_version: str
    accession: str
    plan: Plan | None
    results: tuple[Result, ...]
    empty: tuple[str, ...]  # labels of the prompts that found nothing
    warnings: tuple[str, ...]
    supersedes: tuple[str, ...]  # SOP Instance UIDs of delivered results that this job's replace
    created: float
    updated: float
    description: str = ""  # Series Description (0008,103E)
    instances: int = 0  # of the series version
    headers_digest: str = ""  # of the headers that the results carry
    deliveries: tuple[Delivery, ...] = ()  # these three: only of a job that was read alone
    timeline: tuple[Stage, ...] = ()
    notices: tuple[Notice, ...] = ()

    @cached_property
    def sentence(self) -> str:
        """The reason in words."""
        return sentence(self.reason)

    def result(self, sop_instance_uid: str) -> Result | None:
        """Return the result, or the receipt, of that UID."""
        every = (*self.results, *(notice.result for notice in self.notices))
        return next((each for each in every if each.sop_instance_uid == sop_instance_uid), None)

    def with_details(
        self, deliveries: tuple[Delivery, ...], timeline: tuple[Stage, ...], notices: tuple[Notice, ...]
    ) -> Job:
        """Return the job with what other tables say of it."""
        return replace(self, deliveries=deliveries, timeline=timeline, notices=notices)

    @classmethod
    def from_row(cls, row: sa.RowMapping, paths: Paths) -> Job:
        """Return a row of the table of jobs as a value."""
        values = {
            "state": JobState(row["state"]),
            "reason": Reason(**row["reason"]),
            "plan": load(Plan, row["plan"]) if row["plan"] else None,
            "results": tuple(load(Result, paths(result)) for result in row["results"] or ()),
            **{name: tuple(row[name]) for name in ("empty", "warnings", "supersedes")},
        }
        return cls(**{**row, **values})

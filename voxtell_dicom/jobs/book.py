"""The job book: one row per plan (or per series that made none), its deliveries, and its timeline.

The durable engine decides what runs; this book says what became of it, for people. Every write is idempotent, because
a step may be repeated after a crash, and is guarded by the database: several processes may write at once.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import sqlalchemy as sa

from voxtell_dicom.archive import index
from voxtell_dicom.check.gates import nothing_shown
from voxtell_dicom.errors import VoxtellDicomError
from voxtell_dicom.jobs.compact import pack, unpack
from voxtell_dicom.jobs.delivery_book import DeliveryBook
from voxtell_dicom.jobs.records import Delivery, Job, Notice, Stage
from voxtell_dicom.jobs.store import stored_series
from voxtell_dicom.jobs.tables import (
    commitment_table,
    delivery_table,
    job_table,
    notice_table,
    stage_table,
    version_table,
)
from voxtell_dicom.model import DeliveryState, JobState, Plan, Reason, Receiving, Result, Volume, dump, load
from voxtell_dicom.model.reason import text
from voxtell_dicom.model.states import FINAL, STOPPED, predecessors

_LONGEST_ACCESSION: Final = 64  # characters of its column; the standard allows 16
SHOWN = (JobState.DELIVERING, JobState.DELIVERED, JobState.KEPT)
# States of deliveries that do not fail a job.
_DONE = {DeliveryState.DELIVERED, DeliveryState.REPLACED, DeliveryState.REFUSED}


class TransitionRefused(VoxtellDicomError):
    """A job cannot go from its state to that one: see `model.states.TRANSITIONS`."""

    code = "transition"


@dataclass(frozen=True)
class SeriesLabels:
    """Labels of a series for people, in lists of jobs. instances: of the series version."""

    accession: str = ""
    description: str = ""
    instances: int = 0


@dataclass(frozen=True)
class NewJob:
    """The values that a job is opened with."""

    id: str
    state: JobState | str
    study_uid: str
    series_uid: str
    series_version: str
    reason: Reason | str = ""
    labels: SeriesLabels = SeriesLabels()
    plan: Plan | None = None
    volume: Volume | None = None
    warnings: Sequence[str] = ()
    supersedes: Sequence[str] = ()


def successor(job: Job, plan: Plan, volume: Volume) -> NewJob:
    """Return the job that runs another plan on the volume of a job, with what is said of that one."""
    return NewJob(
        id=plan.key[:16],
        state=JobState.QUEUED,
        study_uid=job.study_uid,
        series_uid=job.series_uid,
        series_version=job.series_version,
        labels=SeriesLabels(job.accession, job.description, job.instances),
        plan=plan,
        volume=volume,
        warnings=job.warnings,
    )


class JobBook(DeliveryBook):
    """Reads and writes the job book of one database. storage: as in `Store`."""

    def open(self, new: NewJob) -> bool:
        """Write a new job; an existing one of that id is left alone. Returns whether it was new."""
        values = {
            "id": new.id,
            "state": JobState(new.state),
            "reason": _reason(new.reason),
            "rule": new.plan.rule if new.plan else "",
            "study_uid": new.study_uid,
            "series_uid": new.series_uid,
            "series_version": new.series_version,
            "accession": index.plain(new.labels.accession)[:_LONGEST_ACCESSION],
            "description": index.plain(new.labels.description),
            "instances": new.labels.instances,
            "plan": dump(new.plan) if new.plan else None,
            "volume": None,
            "results": [],
            "empty": [],
            "warnings": list(new.warnings),
            "supersedes": list(new.supersedes),
            "created": self._now,
            "updated": self._now,
        }
        with self._engine.begin() as connection:
            if new.volume:
                volume, series = (
                    self._stored(new.volume),
                    stored_series(connection, new.series_uid, new.series_version),
                )
                values["volume"] = pack(volume, series) if series else volume
            insert = self._insert(job_table).values(**values).on_conflict_do_nothing().returning(job_table.c.id)
            return connection.execute(insert).first() is not None

    def advance(self, job_id: str, state: JobState | str, reason: Reason | str = "") -> bool:
        """Move a job to a state, as a stage does.

        Returns False, changing nothing, where the job has ended (a newer version, a person, an earlier pass) in a
        state that this one does not follow. Raises TransitionRefused where it has not ended.
        """
        before = self._move(job_id, JobState(state), reason, excluded=STOPPED)
        if before and before not in FINAL:
            raise TransitionRefused(f"job {job_id} is {before}: it cannot become {state}")
        return before is None

    def reopen(self, job_id: str, state: JobState | str, reason: Reason | str = "") -> None:
        """Move a job to a state from wherever it may, by a person's wish (`jobs retry`, `release`, `drop`).

        Raises TransitionRefused where the table does not allow it.
        """
        if before := self._move(job_id, JobState(state), reason):
            raise TransitionRefused(f"job {job_id} is {before}: it cannot become {state}")

    def _move(
        self, job_id: str, state: JobState, reason: Reason | str, excluded: Collection[JobState] = ()
    ) -> JobState | str | None:
        """Move a job in one statement. Returns None where it moved, else the state that it is in, "" for no job."""
        allowed = [before for before in predecessors(state) if before not in excluded]
        table = job_table.c
        with self._engine.begin() as connection:
            done = connection.execute(
                sa.update(job_table)
                .where(table.id == job_id, table.state.in_(allowed))
                .values(state=state, reason=_reason(reason), updated=self._now)
            )
            if done.rowcount:
                return None
            found = connection.execute(sa.select(table.state).where(table.id == job_id)).scalar()
        return JobState(found) if found else ""

    def remove(self, job_id: str) -> None:
        """Remove the note on a series that waited and has jobs of its own now."""
        with self._engine.begin() as connection:
            connection.execute(sa.delete(job_table).where(job_table.c.id == job_id))

    def state(self, job_id: str) -> JobState | str:
        """Return the job's state, "" where there is no such job."""
        query = sa.select(job_table.c.state).where(job_table.c.id == job_id)
        with self._engine.connect() as connection:
            found = connection.execute(query).scalar()
        return JobState(found) if found else ""

    def is_going(self, job_id: str) -> bool:
        """Return whether the job is still wanted: neither cancelled nor dropped."""
        return self.state(job_id) not in ("", *STOPPED)

    def created(self, job_id: str) -> float:
        """Return when the job was opened, in seconds since 1970."""
        query = sa.select(job_table.c.created).where(job_table.c.id == job_id)
        with self._engine.connect() as connection:
            return float(connection.execute(query).scalar_one())

    def plan(self, job_id: str) -> tuple[Plan, Volume]:
        """Return the plan and the volume of a job that has one."""
        table = job_table.c
        query = sa.select(table.plan, table.volume, table.series_uid, table.series_version).where(table.id == job_id)
        with self._engine.connect() as connection:
            row = connection.execute(query).one()
            series = stored_series(connection, row.series_uid, row.series_version)
        return load(Plan, row.plan), load(Volume, self._paths(unpack(row.volume, series)))

    def get(self, job_id: str) -> Job | None:
        """Return one job with its deliveries and timeline; a unique beginning of its id is enough."""
        with self._engine.connect() as connection:
            return self._read(connection, job_id)

    def _read(self, connection: sa.Connection, job_id: str) -> Job | None:
        query = sa.select(*_LISTED).where(job_table.c.id.startswith(job_id, autoescape=True)).limit(2)
        found = connection.execute(query).mappings().all()
        if len(found) != 1:
            return None
        job = Job.from_row(found[0], self._paths)

        def rows(table: sa.Table, order: str) -> Sequence[sa.RowMapping]:
            about = sa.select(table).where(table.c.job_id == job.id).order_by(table.c[order])
            return connection.execute(about).mappings().all()

        return job.with_details(
            tuple(map(Delivery.from_row, rows(delivery_table, "at"))),
            tuple(map(Stage.from_row, rows(stage_table, "started"))),
            tuple(Notice.from_row(row, self._paths) for row in rows(notice_table, "at")),
        )

    def find(
        self,
        *,
        states: Sequence[str] = (),
        series_uid: str = "",
        study_uid: str = "",
        accession: str = "",
        limit: int = 100,
    ) -> list[Job]:
        """Return the newest jobs that meet all that is given, newest first."""
        query = sa.select(*_LISTED).order_by(job_table.c.created.desc(), job_table.c.id.desc()).limit(limit)
        if states:
            query = query.where(job_table.c.state.in_(states))
        for column, value in (("series_uid", series_uid), ("study_uid", study_uid), ("accession", accession)):
            if value:
                query = query.where(job_table.c[column] == value)
        with self._engine.connect() as connection:
            return [Job.from_row(row, self._paths) for row in connection.execute(query).mappings()]

    def shown_results(self, study_uid: str = "") -> list[Result]:
        """Return the results that queries may show: of jobs that deliver, have delivered, or keep them for us.

        What is held, dropped or cancelled is shown to nobody.
        """
        query = sa.select(job_table.c.results).where(job_table.c.state.in_(SHOWN)).order_by(job_table.c.created)
        if study_uid:
            query = query.where(job_table.c.study_uid == study_uid)
        with self._engine.connect() as connection:
            rows = connection.scalars(query).all()
        return [load(Result, self._paths(result)) for results in rows for result in results or ()]

    def receiving(self) -> list[Receiving]:
        """Return the series that are arriving, by the archive's index."""
        with self._engine.connect() as connection:
            return index.receiving(connection, limit=1000)

    def remove_older(self, age_s: float, still_here: Collection[str] = ()) -> list[str]:
        """Remove the jobs that ended so long ago, with all that is said of them. Returns their ids.

        Failed jobs stay, and those of the series that are `still_here` (Series Instance UIDs).
        """
        table = job_table.c
        query = sa.select(table.id, table.series_uid).where(
            table.state.in_(FINAL - {JobState.FAILED}), table.updated < self._now - age_s
        )
        with self._engine.begin() as connection:
            gone = [row.id for row in connection.execute(query) if row.series_uid not in still_here]
            for each in gone:
                connection.execute(sa.delete(job_table).where(table.id == each))
                for other in (delivery_table, commitment_table, stage_table, notice_table):
                    connection.execute(sa.delete(other).where(other.c.job_id == each))
            booked = sa.select(job_table).where(
                table.series_uid == version_table.c.series_uid, table.series_version == version_table.c.version
            )
            old = sa.delete(version_table).where(
                version_table.c.created < self._now - age_s,
                version_table.c.series_uid.not_in(list(still_here)),
                ~booked.exists(),
            )
            connection.execute(old)
        return gone

    def record_results(
        self, job_id: str, results: Sequence[Result], empty: Sequence[str], warnings: Sequence[str], headers: str = ""
    ) -> None:
        """Record what was encoded, and which prompts found nothing. headers: digest of those that the results carry."""
        values = {
            "results": [self._stored(result) for result in results],
            "empty": list(empty),
            "warnings": list(warnings),
            "headers_digest": headers,
            "updated": self._now,
        }
        with self._engine.begin() as connection:
            connection.execute(sa.update(job_table).where(job_table.c.id == job_id).values(**values))

    def add_warning(self, job_id: str, warning: str) -> None:
        """Record a warning about a job beside those that it has."""
        with self._engine.begin() as connection:
            self._lock(connection, job_id)
            known = connection.execute(sa.select(job_table.c.warnings).where(job_table.c.id == job_id)).scalar()
            if known is not None and warning not in known:
                values = {"warnings": [*known, warning], "updated": self._now}
                connection.execute(sa.update(job_table).where(job_table.c.id == job_id).values(**values))

    def add_results(self, job_id: str, results: Sequence[Result]) -> None:
        """Record what was encoded beside the results of a job; one that it has already gets the peers of both."""
        with self._engine.begin() as connection:
            self._lock(connection, job_id)
            stored = connection.execute(sa.select(job_table.c.results).where(job_table.c.id == job_id)).scalar_one()
            known = [load(Result, self._paths(result)) for result in stored or []]
            all_of_them = {result.sop_instance_uid: result for result in known}
            for result in results:
                before = all_of_them.get(result.sop_instance_uid)
                peers = (*(before.peers if before else ()), *result.peers)
                all_of_them[result.sop_instance_uid] = replace(before or result, peers=tuple(dict.fromkeys(peers)))
            values = [self._stored(result) for result in all_of_them.values()]
            connection.execute(
                sa.update(job_table).where(job_table.c.id == job_id).values(results=values, updated=self._now)
            )

    def record_stage(self, job_id: str, stage: str, started: float, seconds: float | None, detail: str = "") -> None:
        """Record when a stage began (seconds since 1970) and how long it took."""
        key = {"job_id": job_id, "stage": stage}
        with self._engine.begin() as connection:
            self._upsert(connection, stage_table, key, {"started": started, "seconds": seconds, "detail": detail})

    def settle(self, job_id: str) -> None:
        """Set the job's state from its deliveries: delivered when all are, failed when none is left to try."""
        with self._engine.begin() as connection:
            self._lock(connection, job_id)  # one caller at a time, else an older look could overwrite a newer one
            job = self._read(connection, job_id)
            if job is None or job.plan is None:
                return
            state, reason = _settled(job, job.plan)
            if job.state in STOPPED or job.state not in predecessors(state):
                return
            connection.execute(
                sa.update(job_table)
                .where(job_table.c.id == job_id)
                .values(state=state, reason=_reason(reason), updated=self._now)
            )


_LISTED = [column for column in job_table.c if column.name != "volume"]


def _reason(reason: Reason | str) -> dict[str, Any]:
    return asdict(text(reason) if isinstance(reason, str) else reason)


def _settled(job: Job, plan: Plan) -> tuple[JobState, Reason]:
    """Return the state that the deliveries of a job come to, and what is to be said of them."""
    wanted = {(result.sop_instance_uid, peer) for result in job.results for peer in result.peers or plan.send_to}
    by_attempt = sorted(job.deliveries, key=lambda row: row.attempt)  # no wall clock says which came last
    last = {(row.sop_instance_uid, row.peer): row for row in by_attempt}
    states = {last[key].state if key in last else None for key in wanted}
    mine = [row for key, row in last.items() if key in wanted]
    notes = {row.message for row in mine if row.state != DeliveryState.DELIVERED or row.warning}
    if states <= _DONE:
        state = JobState.DELIVERED
        notes.add(nothing_shown(job.results, plan, job.empty))
    else:
        state = JobState.FAILED if states <= {*_DONE, DeliveryState.FAILED} else JobState.DELIVERING
    notes.discard("")
    return state, Reason("deliveries", {"messages": sorted(notes)}) if notes else Reason()

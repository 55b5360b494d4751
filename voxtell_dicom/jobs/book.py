"""The job book: one row per plan (or per series that made none), its deliveries, and its timeline.

The durable engine decides what runs; this book says what became of it, for people. Every write is idempotent, because
a step may be repeated after a crash, and is guarded by the database: several processes may write at once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from voxtell_dicom.check.gates import nothing_shown
from voxtell_dicom.errors import VoxtellDicomError
from voxtell_dicom.jobs import paths
from voxtell_dicom.jobs.clock import database_now
from voxtell_dicom.jobs.compact import pack, unpack
from voxtell_dicom.jobs.migrations import upgrade
from voxtell_dicom.jobs.records import Delivery, Job, Notice, Stage
from voxtell_dicom.jobs.tables import delivery_table, job_table, notice_table, stage_table, version_table
from voxtell_dicom.model import DeliveryState, JobState, Outcome, Plan, Reason, Result, Series, Volume, dump, load
from voxtell_dicom.model.reason import text
from voxtell_dicom.model.states import FINAL, STOPPED, delivery_predecessors, predecessors

# States of deliveries that do not fail a job.
_DONE = {DeliveryState.DELIVERED, DeliveryState.REPLACED, DeliveryState.REFUSED}
# Stands in the book until the attempt is made: else the job would end with the first of several that is made.
REQUESTED = Outcome("retry", "asked for")


class TransitionRefused(VoxtellDicomError):
    """A job cannot go from its state to that one: see `model.states.TRANSITIONS`."""

    code = "transition"


@dataclass(frozen=True)
class NewJob:
    """What a job is opened with."""

    id: str
    state: JobState | str
    study_uid: str
    series_uid: str
    series_version: str
    reason: Reason | str = ""
    accession: str = ""
    plan: Plan | None = None
    volume: Volume | None = None
    warnings: Sequence[str] = ()
    supersedes: Sequence[str] = ()


class JobBook:
    """Reads and writes the job book of one database.

    storage: the node's folder, to which stored paths are relative. None: they are stored as they are.
    """

    def __init__(self, engine: sa.Engine, storage: Path | None = None) -> None:
        self._engine = engine
        self._root = storage.absolute() if storage else None
        self._now = database_now(engine.dialect.name)
        upgrade(engine)

    # -- series versions

    def record_series(self, series: Series) -> None:
        """Store a version of a series, once: what is queued and booked refers to it."""
        with self._engine.begin() as connection:
            values = {"series": self._stored(series), "created": self._now}
            key = {"series_uid": series.series_uid, "version": series.version}
            connection.execute(self._insert(version_table).values(**key, **values).on_conflict_do_nothing())

    def series(self, series_uid: str, version: str) -> Series | None:
        """Return a version of a series as it was handed on, None where it is not known."""
        with self._engine.connect() as connection:
            found = _stored_series(connection, series_uid, version)
        return load(Series, self._paths(found)) if found else None

    # -- jobs

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
            "accession": new.accession,
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
                    _stored_series(connection, new.series_uid, new.series_version),
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
            series = _stored_series(connection, row.series_uid, row.series_version)
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
                for other in (delivery_table, stage_table, notice_table):
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

    # -- results, stages

    def record_results(
        self, job_id: str, results: Sequence[Result], empty: Sequence[str], warnings: Sequence[str]
    ) -> None:
        """Record what was encoded, and which prompts found nothing."""
        values = {
            "results": [self._stored(result) for result in results],
            "empty": list(empty),
            "warnings": list(warnings),
            "updated": self._now,
        }
        with self._engine.begin() as connection:
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

    # -- receipts

    def record_notice(self, job_id: str, result: Result, send_to: Sequence[str]) -> None:
        """Record a receipt that a job without a result gets, and who is to have it."""
        with self._engine.begin() as connection:
            self._record_notice(connection, job_id, result, send_to)

    def _record_notice(self, connection: sa.Connection, job_id: str, result: Result, send_to: Sequence[str]) -> None:
        key = {"job_id": job_id, "sop_instance_uid": result.sop_instance_uid}
        values = {"result": self._stored(result), "send_to": list(send_to), "at": self._now}
        self._upsert(connection, notice_table, key, values)

    def add_notice(self, job_id: str, result: Result, peer: str) -> None:
        """Record a receipt that goes to this peer in another one's place; others may have got it already."""
        table = notice_table.c
        query = sa.select(table.send_to).where(
            table.job_id == job_id, table.sop_instance_uid == result.sop_instance_uid
        )
        with self._engine.begin() as connection:
            self._lock(connection, job_id)
            before = connection.execute(query).scalar() or []
            self._record_notice(connection, job_id, result, list(dict.fromkeys([*before, peer])))

    def notices(self, job_id: str) -> list[Result]:
        """Return the receipts of a job without a result."""
        query = sa.select(notice_table.c.result).where(notice_table.c.job_id == job_id)
        with self._engine.connect() as connection:
            return [load(Result, self._paths(result)) for result in connection.scalars(query)]

    def untold(self, job_id: str) -> list[tuple[Result, str]]:
        """Return the receipts of a job that have not reached a peer of theirs, each with the peer."""
        query = sa.select(notice_table).where(notice_table.c.job_id == job_id).order_by(notice_table.c.at)
        with self._engine.connect() as connection:
            notices = [Notice.from_row(row, self._paths) for row in connection.execute(query).mappings()]
        pairs = [(notice.result, peer) for notice in notices for peer in notice.send_to]
        return [(result, peer) for result, peer in pairs if not self.delivered(job_id, result.sop_instance_uid, peer)]

    # -- deliveries

    def record_delivery(self, job_id: str, sop_instance_uid: str, peer: str, attempt: int, outcome: Outcome) -> None:
        """Record one attempt; the same attempt again overwrites itself, but never takes back that the peer has it."""
        state = DeliveryState(outcome.state)
        values = {"state": state, "status": outcome.status, "message": outcome.message, "warning": outcome.warning}
        key = {"job_id": job_id, "sop_instance_uid": sop_instance_uid, "peer": peer, "attempt": attempt}
        allowed = delivery_table.c.state.in_(delivery_predecessors(state))
        with self._engine.begin() as connection:
            self._upsert(connection, delivery_table, key, {**values, "at": self._now}, where=allowed)

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

    def delivered(self, job_id: str, sop_instance_uid: str, peer: str) -> bool:
        """Return whether that object has reached that peer already, or another in its place is on its way."""
        return sop_instance_uid in self.delivered_to(job_id, peer)

    def delivered_to(self, job_id: str, peer: str) -> set[str]:
        """Return the UIDs of the objects that have reached that peer, or in whose place others are on their way."""
        return self._objects(job_id, peer, DeliveryState.DELIVERED, DeliveryState.REPLACED)

    def replaced(self, job_id: str, peer: str) -> set[str]:
        """Return the SOP Instance UIDs of the objects in whose place that peer was sent others."""
        return self._objects(job_id, peer, DeliveryState.REPLACED)

    def delivered_objects(self, job_id: str) -> list[str]:
        """Return the SOP Instance UIDs of a job that have reached any peer."""
        return sorted(self._objects(job_id, "", DeliveryState.DELIVERED))

    def _objects(self, job_id: str, peer: str, *states: DeliveryState) -> set[str]:
        table = delivery_table.c
        query = sa.select(table.sop_instance_uid).where(table.job_id == job_id, table.state.in_(states))
        with self._engine.connect() as connection:
            return set(connection.scalars(query.where(table.peer == peer) if peer else query))

    def last_states(self, job_id: str, peer: str) -> dict[str, DeliveryState]:
        """Return the state of each object that was tried at that peer, or asked for, by the newest attempt."""
        table = delivery_table
        query = (
            sa.select(table.c.sop_instance_uid, table.c.state)
            .where(table.c.job_id == job_id, table.c.peer == peer)
            .order_by(table.c.attempt)
        )
        with self._engine.connect() as connection:
            return {row.sop_instance_uid: DeliveryState(row.state) for row in connection.execute(query)}

    def last_attempt(self, job_id: str, sop_instance_uid: str, peer: str) -> int:
        """Return the number of the newest attempt that was made, 0 where there was none."""
        table = delivery_table
        query = sa.select(sa.func.max(table.c.attempt)).where(
            table.c.job_id == job_id,
            table.c.sop_instance_uid == sop_instance_uid,
            table.c.peer == peer,
            table.c.status != REQUESTED.status,
        )
        with self._engine.connect() as connection:
            return int(connection.execute(query).scalar() or 0)

    # -- the database

    def _lock(self, connection: sa.Connection, job_id: str) -> None:
        """Let nobody else write this job before the transaction ends. On SQLite: nobody write anything."""
        table = job_table.c
        connection.execute(sa.update(job_table).where(table.id == job_id).values(updated=table.updated))

    def _insert(self, table: sa.Table) -> Any:
        dialect: Any = sqlite if self._engine.dialect.name == "sqlite" else postgresql
        return dialect.insert(table)

    def _upsert(
        self,
        connection: sa.Connection,
        table: sa.Table,
        key: Mapping[str, Any],
        values: Mapping[str, Any],
        where: sa.ColumnElement[bool] | None = None,
    ) -> None:
        insert = self._insert(table).values(**key, **values)
        changed = {name: insert.excluded[name] for name in values}
        connection.execute(insert.on_conflict_do_update(index_elements=list(key), set_=changed, where=where))

    def _stored(self, value: Any) -> Any:
        return paths.relative(dump(value), self._root)

    def _paths(self, data: Any) -> Any:
        return paths.absolute(data, self._root)


_LISTED = [column for column in job_table.c if column.name != "volume"]


def _stored_series(connection: sa.Connection, series_uid: str, version: str) -> Any:
    table = version_table.c
    query = sa.select(table.series).where(table.series_uid == series_uid, table.version == version)
    return connection.execute(query).scalar()


def _reason(reason: Reason | str) -> dict[str, Any]:
    return asdict(text(reason) if isinstance(reason, str) else reason)


def _settled(job: Job, plan: Plan) -> tuple[JobState, Reason]:
    """Return the state that the deliveries of a job come to, and what is to be said of them."""
    wanted = {(result.sop_instance_uid, peer) for result in job.results for peer in result.peers or plan.send_to}
    last = {(row.sop_instance_uid, row.peer): row for row in job.deliveries}  # in order of time
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

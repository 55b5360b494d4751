"""The job book: one row per plan (or per series that made none), its deliveries, and its timeline.

The durable engine decides what runs; this book says what became of it, for people. Every write is idempotent, because
a step may be repeated after a crash.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from voxtell_dicom.check.gates import nothing_shown
from voxtell_dicom.jobs.tables import delivery_table, job_table, metadata, notice_table, stage_table
from voxtell_dicom.model import Outcome, Plan, Result, Series, Volume, dump, load

# States in which nothing more happens by itself.
FINAL = ("delivered", "failed", "empty", "kept", "refused", "unmatched", "cancelled", "set_aside", "dropped")
# States that a late stage must not overwrite.
STOPPED = ("cancelled", "dropped")
# States of deliveries that do not fail a job.
_DONE = {"delivered", "replaced", "refused"}
# Stands in the book until the attempt is made: else the job would end with the first of several that is made.
ASKED_FOR = Outcome("retry", "asked for")


class JobBook:
    """Reads and writes the job book of one database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._settling = threading.Lock()
        metadata.create_all(engine)

    def open_job(
        self,
        job_id: str,
        *,
        state: str,
        study_uid: str,
        series_uid: str,
        series_version: str,
        reason: str = "",
        accession: str = "",
        series: Series | None = None,
        plan: Plan | None = None,
        volume: Volume | None = None,
        warnings: Sequence[str] = (),
        supersedes: Sequence[str] = (),
    ) -> bool:
        """Write a new job; an existing one of that id is left alone. Returns whether it was new."""
        now = time.time()
        values = {
            "id": job_id,
            "state": state,
            "reason": reason,
            "rule": plan.rule if plan else "",
            "study_uid": study_uid,
            "series_uid": series_uid,
            "series_version": series_version,
            "accession": accession,
            "series": dump(series) if series else None,
            "plan": dump(plan) if plan else None,
            "volume": dump(volume) if volume else None,
            "results": [],
            "empty": [],
            "warnings": list(warnings),
            "supersedes": list(supersedes),
            "created": now,
            "updated": now,
        }
        with self._engine.begin() as connection:
            if connection.execute(sa.select(job_table.c.id).where(job_table.c.id == job_id)).first():
                return False
            connection.execute(sa.insert(job_table).values(**values))
            return True

    def advance(self, job_id: str, state: str, reason: str = "", **values: Any) -> bool:
        """Move a job to a state. Returns False, changing nothing, where it was cancelled or dropped meanwhile."""
        with self._engine.begin() as connection:
            done = connection.execute(
                sa.update(job_table)
                .where(job_table.c.id == job_id, job_table.c.state.not_in(STOPPED))
                .values(state=state, reason=reason, updated=time.time(), **values)
            )
            return done.rowcount > 0

    def reopen(self, job_id: str, state: str, reason: str = "") -> None:
        """Set a job's state whatever it was, by a person's wish (`jobs retry`, `release`, `drop`)."""
        with self._engine.begin() as connection:
            connection.execute(
                sa.update(job_table)
                .where(job_table.c.id == job_id)
                .values(state=state, reason=reason, updated=time.time())
            )

    def forget(self, job_id: str) -> None:
        """Strike out the note on a series that waited and has jobs of its own now."""
        with self._engine.begin() as connection:
            connection.execute(sa.delete(job_table).where(job_table.c.id == job_id))

    def state(self, job_id: str) -> str:
        """The job's state, "" where there is no such job."""
        query = sa.select(job_table.c.state).where(job_table.c.id == job_id)
        with self._engine.connect() as connection:
            return str(connection.execute(query).scalar() or "")

    def is_going(self, job_id: str) -> bool:
        """Whether the job is still wanted: neither cancelled nor dropped."""
        return self.state(job_id) not in ("", *STOPPED)

    def created(self, job_id: str) -> float:
        """When the job was opened, in seconds since 1970."""
        query = sa.select(job_table.c.created).where(job_table.c.id == job_id)
        with self._engine.connect() as connection:
            return float(connection.execute(query).scalar_one())

    def plan(self, job_id: str) -> tuple[Plan, Volume]:
        """The plan and the volume of a job that has one."""
        query = sa.select(job_table.c.plan, job_table.c.volume).where(job_table.c.id == job_id)
        with self._engine.connect() as connection:
            row = connection.execute(query).one()
        return load(Plan, row.plan), load(Volume, row.volume)

    def record_results(
        self, job_id: str, results: Sequence[Result], empty: Sequence[str], warnings: Sequence[str]
    ) -> None:
        """Note what was encoded, and which prompts found nothing."""
        with self._engine.begin() as connection:
            connection.execute(
                sa.update(job_table)
                .where(job_table.c.id == job_id)
                .values(
                    results=[dump(result) for result in results],
                    empty=list(empty),
                    warnings=list(warnings),
                    updated=time.time(),
                )
            )

    def record_delivery(self, job_id: str, sop_instance_uid: str, peer: str, attempt: int, outcome: Outcome) -> None:
        """Note one attempt; the same attempt again overwrites itself."""
        values = {**dump(outcome), "at": time.time()}
        del values["refused"]  # the state says it: failed, or replaced
        key = {"job_id": job_id, "sop_instance_uid": sop_instance_uid, "peer": peer, "attempt": attempt}
        self._upsert(delivery_table, key, values)

    def record_notice(self, job_id: str, result: Result, send_to: Sequence[str]) -> None:
        """Note a receipt that a job without a result gets, and who is to have it."""
        key = {"job_id": job_id, "sop_instance_uid": result.sop_instance_uid}
        self._upsert(notice_table, key, {"result": dump(result), "send_to": list(send_to), "at": time.time()})

    def add_notice(self, job_id: str, result: Result, peer: str) -> None:
        """Note a receipt that goes to this peer in another one's place; others may have got it already."""
        key = {"job_id": job_id, "sop_instance_uid": result.sop_instance_uid}
        query = sa.select(notice_table.c.send_to).where(*(notice_table.c[name] == value for name, value in key.items()))
        with self._settling:
            with self._engine.connect() as connection:
                before = connection.execute(query).scalar() or []
            self.record_notice(job_id, result, list(dict.fromkeys([*before, peer])))

    def record_stage(self, job_id: str, stage: str, started: float, seconds: float | None, detail: str = "") -> None:
        """Note when a stage began (seconds since 1970) and how long it took."""
        key = {"job_id": job_id, "stage": stage}
        self._upsert(stage_table, key, {"started": started, "seconds": seconds, "detail": detail})

    def _upsert(self, table: sa.Table, key: dict[str, Any], values: dict[str, Any]) -> None:
        where = sa.and_(*(table.c[name] == value for name, value in key.items()))
        with self._engine.begin() as connection:
            if connection.execute(sa.update(table).where(where).values(**values)).rowcount == 0:
                connection.execute(sa.insert(table).values(**key, **values))

    def get(self, job_id: str) -> dict[str, Any] | None:
        """One job with its deliveries and timeline; a unique beginning of its id is enough."""
        with self._engine.connect() as connection:
            return self._read(connection, job_id)

    def _read(self, connection: sa.Connection, job_id: str) -> dict[str, Any] | None:
        rows = connection.execute(
            sa.select(job_table).where(job_table.c.id.startswith(job_id, autoescape=True)).limit(2)
        ).mappings()
        found = [dict(row) for row in rows]
        if len(found) != 1:
            return None
        job = found[0]
        for name, table, order in (
            ("deliveries", delivery_table, "at"),
            ("timeline", stage_table, "started"),
            ("notices", notice_table, "at"),
        ):
            query = sa.select(table).where(table.c.job_id == job["id"]).order_by(table.c[order])
            job[name] = [
                {key: value for key, value in row.items() if key != "job_id"}
                for row in connection.execute(query).mappings()
            ]
        return job

    def find(
        self,
        *,
        states: Sequence[str] = (),
        series_uid: str = "",
        study_uid: str = "",
        accession: str = "",
        limit: int = 100,
    ) -> list[dict[str, Any]]:
        """The newest jobs that meet all that is given, newest first."""
        query = sa.select(job_table).order_by(job_table.c.created.desc(), job_table.c.id).limit(limit)
        if states:
            query = query.where(job_table.c.state.in_(states))
        for column, value in (("series_uid", series_uid), ("study_uid", study_uid), ("accession", accession)):
            if value:
                query = query.where(job_table.c[column] == value)
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def settle(self, job_id: str) -> None:
        """Set the job's state from its deliveries: delivered when all are, failed when none is left to try.

        One caller at a time reads and writes, else an older look could overwrite a newer one.
        """
        lock_row = sa.select(job_table.c.id).where(job_table.c.id == job_id).with_for_update()
        with self._settling, self._engine.begin() as connection:
            connection.execute(lock_row)
            job = self._read(connection, job_id)
            if job is None or job["state"] in STOPPED:
                return
            wanted = {
                (result["sop_instance_uid"], peer)
                for result in job["results"]
                for peer in result.get("peers") or job["plan"]["send_to"]
            }
            by_attempt = sorted(job["deliveries"], key=lambda row: row["attempt"])  # no wall clock says which came last
            last = {(row["sop_instance_uid"], row["peer"]): row for row in by_attempt}
            states = {last[key]["state"] if key in last else "waiting" for key in wanted}
            mine = [row for key, row in last.items() if key in wanted]
            notes = {row["message"] for row in mine if row["state"] != "delivered" or row["warning"]}
            state = "delivered" if states <= _DONE else "failed" if states <= {*_DONE, "failed"} else "delivering"
            if state == "delivered" and (nothing := nothing_shown(job)):
                notes.add(nothing)
            connection.execute(
                sa.update(job_table)
                .where(job_table.c.id == job_id)
                .values(state=state, reason="; ".join(sorted(notes)), updated=time.time())
            )

    def delivered(self, job_id: str, sop_instance_uid: str, peer: str) -> bool:
        """Whether that object has reached that peer already, or another in its place is on its way."""
        return sop_instance_uid in self.delivered_to(job_id, peer)

    def delivered_to(self, job_id: str, peer: str) -> set[str]:
        """SOP Instance UIDs of the objects that have reached that peer, or in whose place others are on their way."""
        table = delivery_table
        query = sa.select(table.c.sop_instance_uid).where(
            table.c.job_id == job_id, table.c.peer == peer, table.c.state.in_(("delivered", "replaced"))
        )
        with self._engine.connect() as connection:
            return set(connection.scalars(query))

    def last_states(self, job_id: str, peer: str) -> dict[str, str]:
        """Of each object that was tried at that peer, or asked for, its state by the newest attempt."""
        table = delivery_table
        query = (
            sa.select(table.c.sop_instance_uid, table.c.state)
            .where(table.c.job_id == job_id, table.c.peer == peer)
            .order_by(table.c.attempt)
        )
        with self._engine.connect() as connection:
            return {row.sop_instance_uid: row.state for row in connection.execute(query)}

    def last_outcome(self, job_id: str, sop_instance_uid: str, peer: str) -> Outcome:
        """Return what the newest attempt to send an object to a peer came to."""
        table = delivery_table
        query = (
            sa.select(table.c.state, table.c.status, table.c.message, table.c.warning)
            .where(table.c.job_id == job_id, table.c.sop_instance_uid == sop_instance_uid, table.c.peer == peer)
            .order_by(table.c.attempt.desc())
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return Outcome(row.state, row.status, row.message, row.warning) if row else ASKED_FOR

    def replaced(self, job_id: str, peer: str) -> set[str]:
        """SOP Instance UIDs of the objects in whose place that peer was sent others."""
        table = delivery_table
        query = sa.select(table.c.sop_instance_uid).where(
            table.c.job_id == job_id, table.c.peer == peer, table.c.state == "replaced"
        )
        with self._engine.connect() as connection:
            return set(connection.scalars(query))

    def add_results(self, job_id: str, results: Sequence[Result]) -> None:
        """Note what was encoded beside the results of a job; one that it has already gets the peers of both."""
        row = sa.select(job_table.c.results).where(job_table.c.id == job_id)
        with self._settling, self._engine.begin() as connection:
            known = [load(Result, result) for result in connection.execute(row.with_for_update()).scalar_one() or []]
            all_of_them = {result.sop_instance_uid: result for result in known}
            for result in results:
                before = all_of_them.get(result.sop_instance_uid)
                peers = (*(before.peers if before else ()), *result.peers)
                all_of_them[result.sop_instance_uid] = replace(before or result, peers=tuple(dict.fromkeys(peers)))
            values = [dump(result) for result in all_of_them.values()]
            connection.execute(
                sa.update(job_table).where(job_table.c.id == job_id).values(results=values, updated=time.time())
            )

    def notices(self, job_id: str) -> list[dict[str, Any]]:
        """The receipts of a job without a result: as `dump` gives a Result."""
        query = sa.select(notice_table.c.result).where(notice_table.c.job_id == job_id)
        with self._engine.connect() as connection:
            return [dict(result) for result in connection.scalars(query)]

    def untold(self, job_id: str) -> list[tuple[Result, str]]:
        """The receipts of a job without a result that have not reached a peer of theirs, each with the peer."""
        query = sa.select(notice_table).where(notice_table.c.job_id == job_id).order_by(notice_table.c.at)
        with self._engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        pairs = [(load(Result, row["result"]), peer) for row in rows for peer in row["send_to"]]
        return [(result, peer) for result, peer in pairs if not self.delivered(job_id, result.sop_instance_uid, peer)]

    def delivered_objects(self, job_id: str) -> list[str]:
        """SOP Instance UIDs of a job that have reached any peer."""
        query = sa.select(delivery_table.c.sop_instance_uid).where(
            delivery_table.c.job_id == job_id, delivery_table.c.state == "delivered"
        )
        with self._engine.connect() as connection:
            return sorted(set(connection.scalars(query)))

    def last_attempt(self, job_id: str, sop_instance_uid: str, peer: str) -> int:
        """The number of the newest attempt that was made, 0 where there was none."""
        table = delivery_table
        query = sa.select(sa.func.max(table.c.attempt)).where(
            table.c.job_id == job_id,
            table.c.sop_instance_uid == sop_instance_uid,
            table.c.peer == peer,
            table.c.status != ASKED_FOR.status,
        )
        with self._engine.connect() as connection:
            return int(connection.execute(query).scalar() or 0)

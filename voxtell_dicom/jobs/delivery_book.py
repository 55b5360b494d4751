"""The part of the job book about what was sent: attempts, and the receipts of jobs without a result."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from voxtell_dicom.jobs.commitment_book import CommitmentBook
from voxtell_dicom.jobs.records import Notice
from voxtell_dicom.jobs.tables import delivery_table, notice_table
from voxtell_dicom.model import DeliveryState, Outcome, Result, load
from voxtell_dicom.model.states import delivery_predecessors

# Stands in the book until the attempt is made: else the job would end with the first of several that is made.
REQUESTED = Outcome("retry", "asked for")


class DeliveryBook(CommitmentBook):
    """Reads and writes attempts and receipts."""

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

    def record_delivery(self, job_id: str, sop_instance_uid: str, peer: str, attempt: int, outcome: Outcome) -> None:
        """Record one attempt; the same attempt again overwrites itself, but never takes back that the peer has it."""
        state = DeliveryState(outcome.state)
        values = {"state": state, "status": outcome.status, "message": outcome.message, "warning": outcome.warning}
        key = {"job_id": job_id, "sop_instance_uid": sop_instance_uid, "peer": peer, "attempt": attempt}
        allowed = delivery_table.c.state.in_(delivery_predecessors(state))
        with self._engine.begin() as connection:
            self._upsert(connection, delivery_table, key, {**values, "at": self._now}, where=allowed)

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
        """Return the state of each object that was tried at that peer, or requested, by the newest attempt."""
        table = delivery_table
        query = (
            sa.select(table.c.sop_instance_uid, table.c.state)
            .where(table.c.job_id == job_id, table.c.peer == peer)
            .order_by(table.c.attempt)
        )
        with self._engine.connect() as connection:
            return {row.sop_instance_uid: DeliveryState(row.state) for row in connection.execute(query)}

    def last_outcome(self, job_id: str, sop_instance_uid: str, peer: str) -> Outcome:
        """Return what the newest attempt to send an object to a peer came to."""
        table = delivery_table.c
        query = (
            sa.select(table.state, table.status, table.message, table.warning)
            .where(table.job_id == job_id, table.sop_instance_uid == sop_instance_uid, table.peer == peer)
            .order_by(table.attempt.desc())
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return Outcome(row.state, row.status, row.message, row.warning) if row else REQUESTED

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

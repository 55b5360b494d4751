"""The part of the job book about Storage Commitment (PS3.4 Annex J): requests to peers, and their reports."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from voxtell_dicom.jobs.store import Store
from voxtell_dicom.jobs.tables import commitment_table
from voxtell_dicom.model.states import CommitmentState, commitment_predecessors


@dataclass(frozen=True)
class Commitment:
    """The state of one result at a peer. reason: Failure Reason; warning: it was stored with one; age_s: since then."""

    transaction_uid: str
    state: CommitmentState
    reason: int
    warning: bool
    age_s: float


class CommitmentBook(Store):
    """Reads and writes requests for commitment and their reports."""

    def request_commitment(self, job_id: str, peer: str, transaction_uid: str, warnings: Mapping[str, bool]) -> None:
        """Record, before it is sent, a request for results. warnings: whether each was stored with one, by its UID."""
        values = {"transaction_uid": transaction_uid, "state": CommitmentState.REQUESTED, "reason": 0, "at": self._now}
        allowed = commitment_table.c.state.in_(commitment_predecessors(CommitmentState.REQUESTED))
        with self._engine.begin() as connection:
            for uid, warning in warnings.items():
                key = {"job_id": job_id, "sop_instance_uid": uid, "peer": peer}
                self._upsert(connection, commitment_table, key, {**values, "warning": warning}, where=allowed)

    def withdraw_commitment(self, transaction_uid: str) -> None:
        """Forget a request that the peer did not take."""
        table = commitment_table.c
        mine = sa.and_(table.transaction_uid == transaction_uid, table.state == CommitmentState.REQUESTED)
        with self._engine.begin() as connection:
            connection.execute(sa.delete(commitment_table).where(mine))

    def record_commitment(
        self, transaction_uid: str, peers: Collection[str], committed: Collection[str], failed: Mapping[str, int]
    ) -> bool:
        """Record a report by one of these peers; return False where none of them has this request.

        A commitment stays: a later failure of the same transaction changes nothing.
        """
        table = commitment_table.c
        of_transaction = sa.and_(table.transaction_uid == transaction_uid, table.peer.in_(list(peers)))
        said = [(uid, CommitmentState.COMMITTED, 0) for uid in committed]
        said += [(uid, CommitmentState.FAILED, reason) for uid, reason in failed.items()]
        with self._engine.begin() as connection:
            known = connection.execute(sa.select(table.peer).where(of_transaction)).first()
            for uid, state, reason in said if known else []:
                allowed = table.state.in_(commitment_predecessors(state))
                connection.execute(
                    sa.update(commitment_table)
                    .where(of_transaction, table.sop_instance_uid == uid, allowed)
                    .values(state=state, reason=reason, at=self._now)
                )
        return known is not None

    def commitments(self, job_id: str, peer: str) -> dict[str, Commitment]:
        """Return what a peer says of the results of a job, by SOP Instance UID."""
        table = commitment_table.c
        query = sa.select(commitment_table, (self._now - table.at).label("age_s")).where(
            table.job_id == job_id, table.peer == peer
        )
        with self._engine.connect() as connection:
            return {
                row.sop_instance_uid: Commitment(
                    row.transaction_uid, CommitmentState(row.state), row.reason, row.warning, row.age_s
                )
                for row in connection.execute(query)
            }

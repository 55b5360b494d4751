"""States of a job and of a delivery attempt, and which may follow which."""

from __future__ import annotations

from enum import StrEnum


class JobState(StrEnum):
    """State of a job. The values stand in the database and in ``--json``."""

    RECEIVING = "receiving"
    """The series is arriving; there is no job yet."""
    WAITING = "waiting"
    """The series is complete and waits for its study to be quiet (rules of scope study)."""
    QUEUED = "queued"
    """A rule wants a volume; the engine has not begun."""
    SEGMENTING = "segmenting"
    """A worker runs the engine, or is waited for."""
    ENCODING = "encoding"
    """The results are being made of the masks."""
    DELIVERING = "delivering"
    """Results are being sent, or sent again."""
    HELD = "held"
    """The results wait for a person: `jobs release` or `jobs drop`."""
    DELIVERED = "delivered"
    """Every peer has every result."""
    FAILED = "failed"
    """Something went wrong that a person has to look at: `jobs retry` after the cause is fixed."""
    EMPTY = "empty"
    """Nothing was found, and there is no object to send."""
    KEPT = "kept"
    """The results are stored in the node: the rule names no peer."""
    REFUSED = "refused"
    """The series, or a part of it, cannot be trusted."""
    UNMATCHED = "unmatched"
    """No rule wants the series."""
    SET_ASIDE = "set_aside"
    """A part of the series that is no volume (a localizer)."""
    CANCELLED = "cancelled"
    """Newer data replaced the job before it was delivered."""
    DROPPED = "dropped"
    """Given up by a person or by the rule: nothing of it is sent."""


class DeliveryState(StrEnum):
    """Outcome of one attempt to send one object to one peer (contracts § 4)."""

    RETRY = "retry"
    """Not arrived; the next attempt follows."""
    DELIVERED = "delivered"
    """The peer has it."""
    RE_ENCODE = "re-encode"
    """Refused as it is encoded; another encoding may be sent, and the line decides."""
    REPLACED = "replaced"
    """Refused, and another object is sent in its place."""
    REFUSED = "refused"
    """A receipt that the peer takes in no form: no failure of the result that it goes with."""
    FAILED = "failed"
    """Not arrived, and not tried again by itself."""


class CommitmentState(StrEnum):
    """State of a request to commit to a result (PS3.4 Annex J)."""

    REQUESTED = "requested"
    """Asked; its report is to come, and the delivery waits for it."""
    COMMITTED = "committed"
    """The peer keeps it."""
    FAILED = "failed"
    """The peer does not keep it: it is sent again, and asked for anew."""


_J = JobState
# A series without a plan: what is said of it may change whenever it is looked at again.
NOTES = frozenset({_J.WAITING, _J.UNMATCHED, _J.REFUSED, _J.SET_ASIDE, _J.FAILED, _J.CANCELLED})
_OUT_OF_ENCODING = frozenset({_J.DELIVERING, _J.DELIVERED, _J.HELD, _J.EMPTY, _J.KEPT, _J.FAILED})
_GIVEN_UP = frozenset({_J.CANCELLED, _J.DROPPED})
# `jobs retry` may begin again where a pass is under way; the older pass then goes on beside the newer.
_AGAIN = frozenset({_J.QUEUED, _J.SEGMENTING, _J.ENCODING})

TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    _J.RECEIVING: frozenset(),
    _J.QUEUED: frozenset({_J.SEGMENTING, _J.ENCODING, _J.FAILED}) | _GIVEN_UP,
    _J.SEGMENTING: frozenset({_J.QUEUED, _J.ENCODING, _J.FAILED}) | _GIVEN_UP,
    _J.ENCODING: _OUT_OF_ENCODING | {_J.QUEUED, _J.SEGMENTING} | _GIVEN_UP,
    _J.DELIVERING: _AGAIN | {_J.DELIVERED, _J.FAILED, _J.HELD} | _GIVEN_UP,
    _J.HELD: _AGAIN | {_J.DELIVERING, _J.KEPT, _J.EMPTY, _J.FAILED} | _GIVEN_UP,
    _J.DELIVERED: frozenset({_J.DELIVERING}),
    _J.EMPTY: frozenset({_J.QUEUED, _J.DROPPED}),
    _J.KEPT: frozenset({_J.QUEUED, _J.DELIVERING, _J.DROPPED}),
    _J.FAILED: _AGAIN | {_J.DELIVERING, _J.DELIVERED, _J.DROPPED} | NOTES,
    _J.CANCELLED: frozenset({_J.QUEUED, _J.DELIVERING, _J.DROPPED}) | NOTES,
    _J.WAITING: NOTES | {_J.DROPPED},
    _J.UNMATCHED: NOTES | {_J.DROPPED},
    _J.REFUSED: NOTES | {_J.DROPPED},
    _J.SET_ASIDE: NOTES | {_J.DROPPED},
    _J.DROPPED: frozenset(),
}

# Nothing more happens to a job in these by itself.
FINAL = frozenset(
    {_J.DELIVERED, _J.FAILED, _J.EMPTY, _J.KEPT, _J.REFUSED, _J.UNMATCHED, _J.CANCELLED, _J.SET_ASIDE, _J.DROPPED}
)
# A stage that comes late does not move a job out of these.
STOPPED = _GIVEN_UP

_D = DeliveryState
# Of one attempt, whose step may be repeated after a crash. What the peer has, it has: that is never taken back.
DELIVERY_TRANSITIONS: dict[DeliveryState, frozenset[DeliveryState]] = {
    _D.RETRY: frozenset(_D) - {_D.RETRY},
    _D.FAILED: frozenset(_D) - {_D.FAILED},
    _D.RE_ENCODE: frozenset(_D) - {_D.RE_ENCODE},
    _D.REFUSED: frozenset({_D.DELIVERED}),
    _D.REPLACED: frozenset(),
    _D.DELIVERED: frozenset(),
}


_C = CommitmentState
# Of the newest request for a result. What the peer has committed to is never asked for again.
COMMITMENT_TRANSITIONS: dict[CommitmentState, frozenset[CommitmentState]] = {
    _C.REQUESTED: frozenset({_C.COMMITTED, _C.FAILED}),
    _C.FAILED: frozenset({_C.REQUESTED, _C.COMMITTED}),
    _C.COMMITTED: frozenset(),
}


def predecessors(state: JobState) -> frozenset[JobState]:
    """Return the states that a job may be in before `state`, itself among them: repeating a step is no fault."""
    return frozenset(before for before, after in TRANSITIONS.items() if state in after) | {state}


def delivery_predecessors(state: DeliveryState) -> frozenset[DeliveryState]:
    """Return the states that an attempt may be in before `state`, itself among them."""
    return frozenset(before for before, after in DELIVERY_TRANSITIONS.items() if state in after) | {state}


def commitment_predecessors(state: CommitmentState) -> frozenset[CommitmentState]:
    """Return the states that a commitment may be in before `state`, itself among them."""
    return frozenset(before for before, after in COMMITMENT_TRANSITIONS.items() if state in after) | {state}

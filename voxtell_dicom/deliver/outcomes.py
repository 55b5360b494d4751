"""The table of contracts § 4: what an answer of a peer means for a delivery. No I/O.

C-STORE statuses: PS3.4 B.2.3 and PS3.7 Annex C. STOW-RS: PS3.18 10.5.3 and Table 10.5.3-1.
"""

from __future__ import annotations

from typing import Final, Literal

from voxtell_dicom.model import Outcome, Result

State = Literal["delivered", "retry", "failed"]

DUPLICATE: Final = 0x0111  # Duplicate SOP Instance; in STOW-RS also HTTP 409
TRANSFER_SYNTAX: Final = 0xC122  # of STOW-RS alone (PS3.18 Table I.2-2)
# The peer does not take the SOP class or the transfer syntax: another object might do.
REFUSED: Final = frozenset({0x0122, 0x0124, TRANSFER_SYNTAX})

# Warnings of DIMSE that are no Bxxx (PS3.7 Annex C): the object is stored.
_STORED_WITH_WARNING: Final = frozenset({0x0001, 0x0107, 0x0116})

_MEANING: Final = {
    0x0000: "stored",
    0x0001: "stored, optional attributes are not supported",
    0x0107: "stored, with a warning about its attributes",
    0x0110: "processing failure",
    DUPLICATE: "duplicate SOP Instance UID",
    0x0116: "stored, with values out of range",
    0x0117: "invalid SOP instance",
    0x0122: "SOP class not supported",
    0x0124: "not authorised",
    TRANSFER_SYNTAX: "transfer syntax not supported",
    0x0210: "duplicate invocation",
    0x0211: "unrecognised operation",
    0x0212: "mistyped argument",
    0xB000: "stored, with coercion of data elements",
    0xB006: "stored, with elements discarded",
    0xB007: "stored, although the data set does not match its SOP class",
}
_TRANSIENT_HTTP: Final = frozenset({408, 425, 429})


def meaning(status: int) -> str:
    """A C-STORE status, or a STOW-RS failure or warning reason, in the standard's words."""
    if status in _MEANING:
        return _MEANING[status]
    if 0xA700 <= status <= 0xA7FF:
        return "refused: out of resources"
    if 0xA900 <= status <= 0xA9FF:
        return "data set does not match SOP class"
    if 0xB000 <= status <= 0xBFFF:
        return "stored, with a warning"
    if 0xC000 <= status <= 0xCFFF:
        return "cannot understand"
    return "unknown status"


def of_store_status(status: int) -> tuple[State, bool]:
    """(state, warning) for a C-STORE status. 0111 counts as failed here: the caller looks the instance up first.

    Every other Bxxx, 0001, 0107 and 0116 are warnings too (PS3.7 Annex C): the object is stored. A status that no table
    knows is a failure.
    """
    if status == 0x0000:
        return "delivered", False
    if 0xB000 <= status <= 0xBFFF or status in _STORED_WITH_WARNING:
        return "delivered", True
    if 0xA700 <= status <= 0xA7FF:
        return "retry", False
    return "failed", False


def of_http_status(status: int) -> State:
    """The state for an HTTP status alone; what a 2xx says about each instance stands in its body."""
    if status in _TRANSIENT_HTTP or 500 <= status <= 599:
        return "retry"
    if 200 <= status <= 299:
        return "delivered"
    return "failed"


def outcome(
    state: State,
    status: str,
    what: str,
    result: Result,
    peer: str,
    *,
    todo: str = "",
    warning: bool = False,
    refused: bool = False,
) -> Outcome:
    """One outcome with one clear sentence: the object, the peer, the status, and what to do where somebody must."""
    verb = {
        "delivered": "is delivered to",
        "retry": "could not be sent now, will be sent again to",
        "failed": "is not delivered to",
    }[state]
    message = f"{result.kind.upper()} {result.sop_instance_uid} {verb} peer '{peer}': {status}"
    if what and what != status:
        message += f", {what}"
    if state == "failed":
        message += f"; {todo or 'fix the problem on the peer'}, then run 'jobs retry'"
    return Outcome(state, status, message, warning, refused)

"""Storage Commitment Push Model (PS3.4 Annex J): what its messages say."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from pydicom.dataset import Dataset
from pydicom.uid import UID

PUSH_MODEL: Final = UID("1.2.840.10008.1.20.1")
PUSH_MODEL_INSTANCE: Final = UID("1.2.840.10008.1.20.1.1")
REQUEST: Final = 1  # Action Type ID, PS3.4 Table J.3.2-1
ALL_COMMITTED, SOME_FAILED = 1, 2  # Event Type ID, Table J.3.3-1
NO_SUCH_INSTANCE, INVALID_ARGUMENT, CLASS_CONFLICT = 0x0112, 0x0115, 0x0119

log = structlog.get_logger(__name__)

_MEANING: Final = {
    0x0110: "processing failure",
    NO_SUCH_INSTANCE: "no such object instance",
    CLASS_CONFLICT: "class / instance conflict",
    0x0122: "referenced SOP class not supported",
    0x0131: "duplicate transaction UID",
    0x0213: "resource limitation",
}


def failure_in_words(reason: int) -> str:
    """Return a Failure Reason (0008,1197) in the standard's words."""
    return f"{reason:04X}, {_MEANING.get(reason, 'no reason of the standard')}"


@dataclass(frozen=True)
class Report:
    """The report of a peer on a transaction. failed: Failure Reason by SOP Instance UID."""

    transaction_uid: str
    committed: frozenset[str]
    failed: Mapping[str, int] = field(default_factory=dict)


def request_of(transaction_uid: str, instances: Collection[tuple[str, str]]) -> Dataset:
    """Return the Action Information for instances: SOP class and SOP Instance UIDs."""
    ds = Dataset()
    ds.TransactionUID = transaction_uid
    ds.ReferencedSOPSequence = [_item(*instance) for instance in instances]
    return ds


def read_request(ds: Dataset) -> tuple[str, list[tuple[str, str]]]:
    """Return transaction and instances of an Action Information. Raises ValueError where it lacks either."""
    items = [
        (str(item.get("ReferencedSOPClassUID", "")), str(item.get("ReferencedSOPInstanceUID", "")))
        for item in ds.get("ReferencedSOPSequence") or []
    ]
    transaction = str(ds.get("TransactionUID") or "")
    if not transaction or not items or not all(uid for _, uid in items):
        raise ValueError("a commitment request without Transaction UID or Referenced SOP Sequence")
    return transaction, items


def report_of(
    transaction_uid: str, held: Collection[tuple[str, str]], failed: Mapping[tuple[str, str], int]
) -> Dataset:
    """Return the Event Information of a report."""
    ds = Dataset()
    ds.TransactionUID = transaction_uid
    if held:
        ds.ReferencedSOPSequence = [_item(*instance) for instance in held]
    if failed:
        ds.FailedSOPSequence = [_item(*instance) for instance in failed]
        for item, reason in zip(ds.FailedSOPSequence, failed.values(), strict=True):
            item.FailureReason = reason
    return ds


def read_report(ds: Dataset) -> Report:
    """Return the report in an Event Information. Raises ValueError where it names no transaction."""
    transaction = str(ds.get("TransactionUID") or "")
    if not transaction:
        raise ValueError("a commitment report without Transaction UID")
    failed = {
        str(item.get("ReferencedSOPInstanceUID", "")): int(item.get("FailureReason") or 0)
        for item in ds.get("FailedSOPSequence") or []
    }
    held = {str(item.get("ReferencedSOPInstanceUID", "")) for item in ds.get("ReferencedSOPSequence") or []}
    return Report(transaction, frozenset(held - failed.keys() - {""}), failed)


def answer_report(event: Any, record: Callable[[Report], bool]) -> int:
    """Record what an N-EVENT-REPORT says; return its status: 0000, or 0115 where it fits no transaction of ours."""
    try:
        found = read_report(event.event_information)
    except Exception as error:  # whatever a broken dataset makes pydicom raise
        log.warning("commitment report refused", reason=f"{type(error).__name__}: {error}")
        return INVALID_ARGUMENT
    if record(found):
        return 0x0000
    log.warning("commitment report refused", reason="no such transaction", transaction_uid=found.transaction_uid)
    return INVALID_ARGUMENT


def _item(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, sop_instance_uid
    return item

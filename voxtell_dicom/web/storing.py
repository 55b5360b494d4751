"""The parts of one store request on their way into the archive: several at once where they are small.

Storing waits for the disk most of the time, so that the next parts are read and stored meanwhile.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

import structlog
from starlette.concurrency import run_in_threadpool

from voxtell_dicom.archive.instance import Sender
from voxtell_dicom.errors import Refusal, SpoolUnavailable
from voxtell_dicom.receive.intake import OUT_OF_RESOURCES, PROCESSING_FAILURE, STATUS, TRANSFER_SYNTAXES, Intake
from voxtell_dicom.web.part10 import FileMeta, NoPart10, read_file_meta
from voxtell_dicom.web.parts import ReceivedPart
from voxtell_dicom.web.store_report import SYNTAX_NOT_SUPPORTED, FailedInstance, StoredInstance, StoreReport

_AT_ONCE: Final = 6  # parts
_AT_ONCE_BYTES: Final = 16 << 20  # of them; a larger part is stored alone

Outcome = StoredInstance | FailedInstance

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Storing:
    """The destination of parts. study_uid: of the path, "" where it has none."""

    intake: Intake
    sender: Sender
    study_uid: str

    def take(self, part: ReceivedPart, meta: FileMeta) -> Outcome:
        """Store one part. Returns what became of it."""
        try:
            return self._store(part, meta)
        except Refusal as refusal:
            return _failed(meta, STATUS[refusal.code], refusal.code, refusal)
        except SpoolUnavailable as error:
            return _failed(meta, OUT_OF_RESOURCES, error.code, error)
        except Exception as error:
            log.error("instance not stored", sop_instance_uid=meta.sop_instance_uid, error=type(error).__name__)
            return FailedInstance(meta.sop_class_uid, meta.sop_instance_uid, PROCESSING_FAILURE)

    def _store(self, part: ReceivedPart, meta: FileMeta) -> Outcome:
        uid = meta.sop_instance_uid
        if part.truncated:
            raise Refusal("too-large", "the instance is larger than receive.bounds.dataset_mb", uid=uid)
        if meta.transfer_syntax_uid not in TRANSFER_SYNTAXES:
            log.warning("instance refused", reason=f"transfer syntax {meta.transfer_syntax_uid}", sop_instance_uid=uid)
            return FailedInstance(meta.sop_class_uid, uid, SYNTAX_NOT_SUPPORTED)
        data = bytes(memoryview(part.content)[meta.dataset_at :])
        part.content = bytearray()
        arrival = self.intake.read(data, meta.transfer_syntax_uid, meta.sop_class_uid, uid)
        if self.study_uid not in ("", arrival.study_uid):
            what = f"Study Instance UID (0020,000D) is {arrival.study_uid}, the request says {self.study_uid}"
            raise Refusal("sop-mismatch", what, uid=uid)
        self.intake.store(arrival, self.sender)
        return StoredInstance(arrival.sop_class_uid, arrival.sop_instance_uid, arrival.study_uid, arrival.series_uid)


def _failed(meta: FileMeta, reason: int, code: str, error: Exception) -> FailedInstance:
    log.warning("instance refused", code=code, reason=str(error), sop_instance_uid=meta.sop_instance_uid)
    return FailedInstance(meta.sop_class_uid, meta.sop_instance_uid, reason)


class PartStore:
    """Stores the parts of one request in worker threads."""

    def __init__(self, storing: Storing) -> None:
        self._storing = storing
        self._outcomes: list[asyncio.Task[Outcome] | Outcome] = []
        self._under_way: dict[asyncio.Task[Outcome], tuple[str, int]] = {}  # SOP Instance UID and bytes

    async def add(self, part: ReceivedPart) -> None:
        """Have a part stored; waits while there is no room for it. Two copies of one instance stay in their order."""
        try:
            meta = read_file_meta(part.content)
        except NoPart10 as error:
            reason = STATUS["too-large"] if part.truncated else STATUS["unreadable"]
            address = self._storing.sender.address
            log.warning("instance refused", code="unreadable", reason=str(error), address=address)
            self._outcomes.append(FailedInstance("", "", reason))
            return
        size = len(part.content)
        while self._under_way and not self._has_room(meta.sop_instance_uid, size):
            await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
        task = asyncio.create_task(run_in_threadpool(self._storing.take, part, meta))
        self._under_way[task] = meta.sop_instance_uid, size
        task.add_done_callback(lambda done: self._under_way.pop(done, None))
        self._outcomes.append(task)

    def _has_room(self, sop_instance_uid: str, size: int) -> bool:
        others = self._under_way.values()
        total = sum(bytes_ for _, bytes_ in others) + size
        same = any(uid == sop_instance_uid for uid, _ in others)
        return len(self._under_way) < _AT_ONCE and total <= _AT_ONCE_BYTES and not same

    async def report(self) -> StoreReport:
        """Return what became of all parts, in their order, when that is known."""
        found = StoreReport()
        for outcome in self._outcomes:
            one = await outcome if isinstance(outcome, asyncio.Task) else outcome
            if isinstance(one, StoredInstance):
                found.stored.append(one)
            else:
                found.failed.append(one)
        return found

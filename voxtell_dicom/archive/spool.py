"""The durable instance store: what was answered with success is on disk, whole, with all that a restart must know.

    ROOT/series/<hash of Series UID>/<hash of SOP Instance UID>.dcm   Part 10, see part10.py
    ROOT/series/<hash of Series UID>/associations.jsonl               how each association that stored here ended
    ROOT/incoming/                                                    files being written; emptied at start
    ROOT/taken.jsonl, ROOT/own.txt                                    versions handed on; UIDs of our own results

What is refused is not kept: the failure status leaves it with the sender.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import threading
import time
import uuid
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import structlog

from voxtell_dicom.archive.journal import Journal
from voxtell_dicom.archive.kept import End, Kept, SeriesRecord, name_of
from voxtell_dicom.archive.part10 import Facts, write_part10
from voxtell_dicom.archive.rebuild import rebuild
from voxtell_dicom.archive.same import SAME, compare
from voxtell_dicom.config import Receive
from voxtell_dicom.dicom.identity import described, require_one_value
from voxtell_dicom.dicom.sop_classes import starts_work
from voxtell_dicom.errors import ConfigError, Refusal, SpoolUnavailable
from voxtell_dicom.files import sync_folder
from voxtell_dicom.model import Series
from voxtell_dicom.receive.arrival import Arrival, Sender

NEW = "new"

log = structlog.get_logger(__name__)


class Spool:
    """All instances we hold, by series. Every method may be called from any thread; one process at a time.

    also: SOP Class UIDs that start work although they are of those that never do (contracts § 3), because a rule
    asks for them.
    Raises ConfigError where another process holds the folder, SpoolUnavailable where it cannot be written.
    """

    def __init__(self, root: Path, settings: Receive, also: Collection[str] = ()) -> None:
        self.root = root.absolute()
        self._settings = settings
        self._also = frozenset(also)
        self._series_folder, self._incoming = self.root / "series", self.root / "incoming"
        self._lock = threading.RLock()
        self._stripes = [threading.Lock() for _ in range(64)]
        self._low = False
        try:
            self.root.mkdir(mode=0o750, parents=True, exist_ok=True)  # patient data: not for everybody on the machine
            self._series_folder.mkdir(exist_ok=True)
            self._held = os.open(self.root / "lock", os.O_RDONLY | os.O_CREAT, 0o640)
            self._hold()
            shutil.rmtree(self._incoming, ignore_errors=True)
            self._incoming.mkdir(exist_ok=True)
            self._taken_journal, self._own_journal = Journal(self.root / "taken.jsonl"), Journal(self.root / "own.txt")
            self._taken = {(uid, version) for uid, version, _ in self._taken_journal.read_json()}
            self._own = set(self._own_journal.read())
            self._series = rebuild(self._series_folder)
        except OSError as error:
            raise SpoolUnavailable(f"the spool {self.root} cannot be opened: {error}") from error
        self._where = {uid: record for record in self._series.values() for uid in record.facts}

    def close(self) -> None:
        """Let go of the folder, so that another process may open it."""
        os.close(self._held)

    def store(self, arrival: Arrival, sender: Sender) -> str:
        """Keep an instance. When this returns, it is on disk, whole.

        Returns NEW, "same" (sent before, be it in another transfer syntax: the first copy stays) or "headers" (the
        same image with changed headers: the newest copy stays). Only NEW changes the version of the series.
        Raises Refusal (``instance-conflict``, ``series-conflict``), SpoolUnavailable (disk full or unwritable; then
        nothing of it is kept).
        """
        uid = arrival.sop_instance_uid
        facts = Facts.of(arrival, sender, time.time())
        with self._stripes[hash(uid) % len(self._stripes)]:
            self._check_identity(facts)
            verdict = self._compare(facts, arrival.data)
            if verdict == SAME:
                return SAME
            self._check_space()
            temporary = self._incoming / f"{uuid.uuid4().hex}.part"
            try:
                with temporary.open("xb") as file:
                    write_part10(file, facts, arrival.data)
                    file.flush()
                    os.fsync(file.fileno())
                    size = file.tell()
                with self._lock:
                    self._check_identity(facts)
                    self._commit(temporary, facts, size)
            except OSError as error:
                raise SpoolUnavailable(f"the spool cannot be written: {error.strerror or error}") from error
            finally:
                with suppress(OSError):  # a read-only disk says so twice
                    temporary.unlink()
        return verdict

    def _check_identity(self, facts: Facts) -> None:
        """One SOP Instance UID lies in one series; one Series Instance UID is of one study and one patient."""
        with self._lock:
            where, record = self._where.get(facts.sop_instance_uid), self._series.get(facts.series_uid)
            if where is not None and where is not record:
                raise Refusal(
                    "instance-conflict",
                    f"SOP Instance UID {facts.sop_instance_uid} is already here in another series than "
                    f"{facts.series_uid}; send it under a new SOP Instance UID",
                    uid=facts.sop_instance_uid,
                )
            other = next(iter(record.facts.values()), None) if record else None
        if other is None:
            return
        for keyword, known, new in (
            ("StudyInstanceUID", other.study_uid, facts.study_uid),
            ("PatientID", other.patient_id, facts.patient_id),
        ):
            values = ((other.sop_instance_uid, known), (facts.sop_instance_uid, new))
            what = described(keyword)
            advice = f"it is already here with another {what}; one of them is wrong: send it under a UID of its own"
            require_one_value(facts.series_uid, keyword, values, advice=advice, code="series-conflict")

    def _compare(self, facts: Facts, data: bytes) -> str:
        with self._lock:
            record = self._where.get(facts.sop_instance_uid)
            if record is None:
                return NEW
            known = record.facts[facts.sop_instance_uid]
            if (known.digest, known.transfer_syntax_uid) == (facts.digest, facts.transfer_syntax_uid):
                return SAME
            try:
                ours = record.path(facts.sop_instance_uid).open("rb")
            except OSError as error:
                raise SpoolUnavailable(f"the spool cannot be read: {error.strerror}") from error
        with ours, BytesIO() as theirs:
            write_part10(theirs, facts, data)
            theirs.seek(0)
            return compare(ours, theirs, facts.sop_instance_uid)

    def _check_space(self) -> None:
        """Raises SpoolUnavailable below receive.min_free_percent; says so once, and once when it is over."""
        try:
            usage = shutil.disk_usage(self.root)
        except OSError as error:
            raise SpoolUnavailable(f"the spool cannot be read: {error.strerror}") from error
        percent = 100 * usage.free / usage.total if usage.total else 0.0
        low, self._low = self._low, percent < self._settings.min_free_percent
        if self._low != low:
            log.warning("spool is short of space" if self._low else "spool has space again", free_percent=int(percent))
        if self._low:
            asked = self._settings.min_free_percent
            raise SpoolUnavailable(f"{percent:.1f} % of the disk is free, receive.min_free_percent asks for {asked:g}")

    def _commit(self, temporary: Path, facts: Facts, size: int) -> None:
        record = self._series.get(facts.series_uid)
        if record is None:
            record = SeriesRecord(self._series_folder / name_of(facts.series_uid))
        if not record.folder.is_dir():
            record.folder.mkdir()
            sync_folder(self._series_folder)
        target = record.path(facts.sop_instance_uid)
        os.replace(temporary, target)
        try:
            sync_folder(record.folder)
        except OSError:
            if facts.sop_instance_uid not in record.facts:
                target.unlink(missing_ok=True)
            raise
        record.facts[facts.sop_instance_uid] = facts
        record.sizes[facts.sop_instance_uid] = size
        self._series[facts.series_uid] = self._where[facts.sop_instance_uid] = record

    def note_end(self, sender: Sender, series_uids: Iterable[str], *, released: bool) -> None:
        """Write down how an association ended that stored into these series. Never raises: unwritten means lost."""
        end = End(sender.association, sender.opened, time.time(), released)
        with self._lock:
            for uid in series_uids:
                if record := self._series.get(uid):
                    record.note(end)
                    try:
                        Journal(record.folder / "associations.jsonl").append([json.dumps(asdict(end))])
                    except OSError as error:
                        log.warning("end of association not written", series_uid=uid, error=str(error))

    def series(self, series_uid: str, incomplete: str = "") -> Series | None:
        """The newest version of a series: the instances that start work. None where there is none."""
        with self._lock:
            record = self._series.get(series_uid)
            chosen = record.starting(self._starts) if record else []
            return record.series(chosen, incomplete) if record and chosen else None

    def current_version(self, series_uid: str) -> str:
        """Version of a series as it is now; "" where nothing of it is here that starts work."""
        series = self.series(series_uid)
        return series.version if series else ""

    def kept(self, series_uid: str) -> Kept | None:
        """Summary of one series; None where it is not here."""
        with self._lock:
            record = self._series.get(series_uid)
            return record.kept(record.starting(self._starts), self.is_taken) if record else None

    def overview(self) -> list[Kept]:
        """Summary of every series, those longest without news first."""
        with self._lock:
            every = [record.kept(record.starting(self._starts), self.is_taken) for record in self._series.values()]
        return sorted(every, key=lambda kept: kept.last_arrived)

    def _starts(self, facts: Facts) -> bool:
        if facts.own or facts.sop_instance_uid in self._own or facts.series_uid in self._own:
            return False
        return starts_work(facts.sop_class_uid, self._also)

    def take(self, series_uid: str, version: str) -> None:
        """Remember, for ever and durably, that a version was handed on. Again is no error. Raises SpoolUnavailable."""
        with self._lock:
            if (series_uid, version) not in self._taken:
                self._append(self._taken_journal, [json.dumps([series_uid, version, time.time()])])
                self._taken.add((series_uid, version))

    def is_taken(self, series_uid: str, version: str) -> bool:
        """Whether this version was handed on, be the series still here or dropped since."""
        with self._lock:
            return (series_uid, version) in self._taken

    def remember_own(self, uids: Iterable[str]) -> None:
        """UIDs (SOP Instance or Series Instance) of our results, before they leave. Raises SpoolUnavailable."""
        with self._lock:
            new = sorted(set(uids) - self._own)
            if new:
                self._append(self._own_journal, new)
                self._own.update(new)

    def drop(self, series_uid: str, version: str | None = None) -> bool:
        """Delete a series from the disk; with `version`, only while that is its version. Whether it was dropped."""
        with self._lock:
            record = self._series.get(series_uid)
            if record is None or (version is not None and version != self.current_version(series_uid)):
                return False
            grave = self._incoming / f"{uuid.uuid4().hex}.dropped"
            try:
                os.replace(record.folder, grave)
                sync_folder(self._series_folder)
            except OSError as error:
                raise SpoolUnavailable(f"the spool cannot be written: {error.strerror}") from error
            del self._series[series_uid]
            for uid in record.facts:
                del self._where[uid]
        shutil.rmtree(grave, ignore_errors=True)  # what is left is removed at the next start
        return True

    def _append(self, journal: Journal, lines: list[str]) -> None:
        try:
            journal.append(lines)
        except OSError as error:
            raise SpoolUnavailable(f"the spool cannot be written: {error.strerror}") from error

    def _hold(self) -> None:
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._held)
            raise ConfigError(f"the spool {self.root} is in use by another process; stop it first") from None

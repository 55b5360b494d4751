"""The archive: what was answered with success is in the store, whole, and in the index.

    ROOT/series/<hash of Series UID>/<hash of SOP Instance UID>-<digest>.dcm   Part 10, see part10.py
    ROOT/series/<hash of Series UID>/<version>.headers                         headers of a version, see headers.py
    ROOT/incoming/, ROOT/index.json                                            unfinished files; see marker.py

What is refused is not stored: the failure status leaves it with the sender. The order of an instance's way in: the hold
of its association is committed durably, the file is written and synced, its row is inserted without waiting for the
disk. So the rows that a power cut may lose are of series with an open hold, and the start completes those from the
store.
"""

from __future__ import annotations

import fcntl
import os
import threading
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from io import BytesIO
from pathlib import Path

import sqlalchemy as sa
import structlog

from voxtell_dicom.archive import adoption, catalogue, index, marker, tables
from voxtell_dicom.archive.clock import Clock, database_clock
from voxtell_dicom.archive.compare import SAME, compare
from voxtell_dicom.archive.database import exclusive, open_writer
from voxtell_dicom.archive.instance import Arrival, Sender
from voxtell_dicom.archive.naming import instance_key, series_prefix
from voxtell_dicom.archive.part10 import Facts, write_part10
from voxtell_dicom.archive.reader import Reader
from voxtell_dicom.archive.store.folder import FolderStore
from voxtell_dicom.config import Receive
from voxtell_dicom.dicom.identity import described
from voxtell_dicom.errors import ConfigError, Refusal, SpoolUnavailable
from voxtell_dicom.files import free_percent
from voxtell_dicom.model import Series

NEW = "new"
GENERATION_S = 60.0  # how long new instances may lie here before index and store record a new generation
_KNOWN_HOLDS = 10_000

log = structlog.get_logger(__name__)

EnqueueSeries = Callable[[sa.Connection, Series], object]


class Archive(Reader):
    """All instances we hold, by series. Every method may be called from any thread; one process at a time.

    also: SOP Class UIDs that start work although they are of those that never do (contracts § 3), because a rule asks
    for them. clock: for tests.
    Raises ConfigError where another process holds the folder, SpoolUnavailable where it cannot be written.
    """

    def __init__(
        self,
        root: Path,
        engine: sa.Engine,
        settings: Receive,
        also: Collection[str] = (),
        clock: Clock | None = None,
    ) -> None:
        self.root = root.absolute()
        self._settings = settings
        self._receiver = uuid.uuid4().hex
        self._stripes = [threading.Lock() for _ in range(64)]
        self._holds: dict[tuple[str, str], None] = {}
        self._low, self._news, self._advanced_at = False, False, 0.0
        try:
            self._folder = FolderStore(self.root)
            self._lock = os.open(self.root / "lock", os.O_RDONLY | os.O_CREAT, 0o640)
            self._take_lock()
            self._folder.discard_unfinished()
        except OSError as error:
            raise SpoolUnavailable(f"the archive {self.root} cannot be opened: {error}") from error
        super().__init__(engine, self._folder, clock or database_clock(engine), also)
        self._claims, self._durable = open_writer(engine, durable=False), open_writer(engine, durable=True)
        try:
            tables.metadata.create_all(engine)
            self._begin()
        except OSError as error:
            self.close()
            raise SpoolUnavailable(f"the archive {self.root} cannot be opened: {error}") from error
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        """Bring index and store together, and take up what an earlier run left."""
        with self._engine.connect() as connection:
            behind = marker.is_behind(marker.read_index(connection), marker.read_store(self.objects))
            dropped = list(connection.scalars(sa.select(tables.dropped_series.c.series_uid)))
        self.opened_with = self.complete() if behind else 0
        for series_uid in dropped:
            self._delete_objects(series_uid)
        adoption.end_earlier_runs(self._durable, self._folder, self._receiver, self.now())
        self._advance()

    def complete(self) -> int:
        """Insert what the store holds and the index does not. Returns how many instances. Raises OSError."""
        found = adoption.complete_index(self._durable, self._folder, self.now())
        if found:
            log.warning("the index was completed from the store", instances=found)
        return found

    def close(self) -> None:
        """Let go of the folder, so that another process may open it."""
        if self._lock < 0:
            return
        try:
            if self._news:
                self._advance()
        except (OSError, sa.exc.SQLAlchemyError) as error:
            log.warning("generation not recorded", error=type(error).__name__)
        for engine in (self._claims, self._durable):
            engine.dispose()
        os.close(self._lock)
        self._lock = -1

    def _advance(self) -> None:
        self._news, self._advanced_at = False, self.now()
        marker.advance(self._durable, self.objects)

    def record_generation(self) -> None:
        """Record a new generation where something new has come for a minute (see marker.py)."""
        if self._news and self.now() >= self._advanced_at + GENERATION_S:
            self._advance()

    # What comes in

    def store(self, arrival: Arrival, sender: Sender) -> str:
        """Store an instance. When this returns, it is in the store, whole, and in the index.

        Returns NEW, "same" (sent before, be it in another transfer syntax: the first copy stays) or "headers" (the
        same image with changed headers: the newest copy stays). Only NEW changes the version of the series.
        Raises Refusal (``instance-conflict``, ``series-conflict``), SpoolUnavailable (disk full or unwritable, or the
        database does not answer; then nothing of it is stored).
        """
        facts = Facts.of(arrival, sender, self.now())
        with self._stripes[hash(facts.sop_instance_uid) % len(self._stripes)], self._available():
            with self._engine.connect() as connection:
                old = self._known(connection, facts)
            verdict = self._compare(old, facts, arrival.data) if old else NEW
            if verdict == SAME:
                return SAME
            self._check_space()
            self._hold(facts, arrival.header)
            # A correction lies under the key of the first copy: whoever has that key sees the newest headers.
            key = old.object if old else instance_key(facts.series_uid, facts.sop_instance_uid, facts.digest)
            size = self.objects.put(key, lambda file: write_part10(file, facts, arrival.data))
            self._news = True
            try:
                claimed = self._claim(facts, key, size, arrival.header, old)
            except Refusal:
                self._discard(key, old)
                raise
            if not claimed:
                self._discard(key, old)
                raise SpoolUnavailable(f"SOP Instance UID {facts.sop_instance_uid} is being stored by another sender")
        return verdict

    def _known(self, connection: sa.Connection, facts: Facts) -> index.Stored | None:
        """Return what is here of the instance. Raises Refusal where its series is not what it was.

        The series of an instance that is not here yet is checked by `_hold` and `_claim`.
        """
        old = index.find(connection, facts.sop_instance_uid)
        if old is None:
            return None
        if old.series_uid != facts.series_uid:
            raise Refusal(
                "instance-conflict",
                f"SOP Instance UID {facts.sop_instance_uid} is already here in another series than "
                f"{facts.series_uid}; send it under a new SOP Instance UID",
                uid=facts.sop_instance_uid,
            )
        _check_series(index.find_series(connection, facts.series_uid), facts)
        return old if self.objects.exists(old.object) else None

    def _compare(self, old: index.Stored, facts: Facts, data: bytes) -> str:
        if (old.digest, old.transfer_syntax) == (facts.digest, facts.transfer_syntax_uid):
            return SAME
        with self.objects.path(old.object).open("rb") as ours, BytesIO() as theirs:
            write_part10(theirs, facts, data)
            theirs.seek(0)
            return compare(ours, theirs, facts.sop_instance_uid)

    def _hold(self, facts: Facts, header: bytes) -> None:
        """Have the association hold the series, durably; done once for both."""
        if (facts.association, facts.series_uid) in self._holds:
            return
        with self._durable.begin() as connection:
            index.add_series(connection, facts, self.now())
            _check_series(index.lock_series(connection, facts.series_uid), facts)
            index.add_hold(connection, facts, self._receiver)
            catalogue.record(connection, facts.series_uid, facts.transfer_syntax_uid, header)
        self._holds[facts.association, facts.series_uid] = None
        while len(self._holds) > _KNOWN_HOLDS:
            del self._holds[next(iter(self._holds))]

    def _claim(self, facts: Facts, key: str, size: int, header: bytes, old: index.Stored | None) -> bool:
        with self._claims.begin() as connection:
            row = index.lock_series(connection, facts.series_uid)
            if row is None:  # dropped since the hold was made
                index.add_series(connection, facts, self.now())
                index.add_hold(connection, facts, self._receiver)
                row = index.lock_series(connection, facts.series_uid)
            _check_series(row, facts)
            if old:
                index.insert_ignore(connection, tables.corrected_series, [{"series_uid": facts.series_uid}])
                catalogue.record(connection, facts.series_uid, facts.transfer_syntax_uid, header, corrected=True)
                return index.replace_instance(connection, old, index.instance_row(facts, key, size, header))
            if not index.add_instance(connection, facts, key, size, header):
                stale = index.find(connection, facts.sop_instance_uid)  # its object was missing from the store
                new = index.instance_row(facts, key, size, header)
                if not stale or (self.objects.exists(stale.object) and stale.object != key):
                    return False
                index.replace_instance(connection, stale, new)
            if row is not None and not row.has_new_instances:
                index.mark_new(connection, facts.series_uid, self.now())
        return True

    def _discard(self, key: str, old: index.Stored | None) -> None:
        """Delete an object that was written and could not be claimed; never the copy of one that was here before."""
        if old is None:
            self.objects.remove(key)

    def _check_space(self) -> None:
        """Raise SpoolUnavailable below receive.min_free_percent; logged once, and once when it is over."""
        percent = free_percent(self.root) or 0.0
        low, self._low = self._low, percent < self._settings.min_free_percent
        if self._low != low:
            log.warning(
                "archive is short of space" if self._low else "archive has space again", free_percent=int(percent)
            )
        if self._low:
            wanted = self._settings.min_free_percent
            raise SpoolUnavailable(f"{percent:.1f} % of the disk is free, receive.min_free_percent asks for {wanted:g}")

    def note_unstored(self, series_uid: str, sop_instance_uid: str) -> None:
        """Note an instance that was sent and could not be stored: its series waits for it. Never raises."""
        try:
            with self._claims.begin() as connection:
                row = {"series_uid": series_uid, "sop_uid": sop_instance_uid}
                index.insert_ignore(connection, tables.unstored, [row])
        except sa.exc.SQLAlchemyError as error:
            log.warning("missing instance not recorded", sop_instance_uid=sop_instance_uid, error=type(error).__name__)

    def end_association(self, association: str, *, released: bool) -> bool:
        """Record how an association ended. Returns whether it held a series. Never raises: unwritten means lost."""
        for key in [key for key in self._holds.copy() if key[0] == association]:
            self._holds.pop(key, None)
        try:
            with self._durable.begin() as connection:
                return index.end_holds(connection, association, self.now(), released=released) > 0
        except sa.exc.SQLAlchemyError as error:
            log.warning("end of association not written", association=association, error=type(error).__name__)
            return False

    # Corrections

    def corrected(self) -> list[str]:
        """Return the UIDs of series of which headers were corrected and that nobody has dealt with yet."""
        with self._engine.connect() as connection:
            return list(connection.scalars(sa.select(tables.corrected_series.c.series_uid)))

    def forget_correction(self, series_uid: str) -> None:
        """Note that a correction was dealt with."""
        table = tables.corrected_series
        with self._claims.begin() as connection:
            connection.execute(sa.delete(table).where(table.c.series_uid == series_uid))

    # Completion

    def put_off(self, series_uid: str, due_at: float, *, before: float) -> None:
        """Look at a series again at `due_at`, unless it was made due since `before`."""
        with self._claims.begin() as connection:
            index.set_due(connection, series_uid, due_at, before=before)

    def make_due(self) -> None:
        """Have all series that wait be looked at now."""
        with self._claims.begin() as connection:
            index.make_due(connection, self.now())

    def hand_over(self, series: Series, enqueue: EnqueueSeries) -> bool:
        """Record that a version is handed on and enqueue it, in one transaction: both or none.

        Returns False where the series has changed since: then it is looked at again.
        """
        stored = self._headers.write_version(self._engine, series)
        with self._durable.begin() as connection:
            row = index.lock_series(connection, series.series_uid)
            if row is None or not row.has_new_instances:
                return False
            current = self._series(connection, series.series_uid, series.incomplete)
            if current is None or current.version != series.version:
                return False
            version = {"version": series.version, "at": self.now(), "incomplete": series.incomplete}
            if index.insert_ignore(connection, tables.series_version, [{"series_uid": series.series_uid, **version}]):
                enqueue(connection, current)
            self._headers.forget_rows(connection, series.version, stored)
            last = sa.select(sa.func.max(tables.instance.c.arrived)).where(
                tables.instance.c.series_uid == series.series_uid
            )
            index.settle(connection, series.series_uid, float(connection.scalar(last) or 0.0))
        return True

    def settle(self, series_uid: str) -> None:
        """Note that nothing of a series is to be handed on, where that is so."""
        with self._durable.begin() as connection:
            index.lock_series(connection, series_uid)
            found = self._summary(connection, series_uid)
            if found is None and not index.links(connection, series_uid).open:  # nothing of it could be stored
                index.remove_series(connection, series_uid)
            elif found is None or not found.starts or found.handed_on:
                index.settle(connection, series_uid, found.last_arrived if found else self.now())

    # What leaves

    def remember_own(self, uids: Iterable[str]) -> None:
        """Remember UIDs (SOP or Series Instance) of our results, before they leave. Raises SpoolUnavailable."""
        with self._available(), self._durable.begin() as connection:
            index.add_uids(connection, uids)

    def drop(self, series_uid: str, version: str | None = None) -> bool:
        """Delete a series; with `version`, only while that is its version. Returns whether it was deleted."""
        for stripe in self._stripes:
            stripe.acquire()
        try:
            with self._available(), self._durable.begin() as connection:
                row = index.lock_series(connection, series_uid)
                found = self._summary(connection, series_uid) if row else None
                if row is None or (version is not None and (found.version if found else "") != version):
                    return False
                index.forget(connection, series_uid)
            self._holds = {key: None for key in self._holds if key[1] != series_uid}
            with self._available():
                self._delete_objects(series_uid)
        finally:
            for stripe in self._stripes:
                stripe.release()
        return True

    def exclusive(self, name: str) -> AbstractContextManager[bool]:
        """Tell whether this process may do what only one at a time does, such as retention."""
        return exclusive(self._engine, name)

    def _delete_objects(self, series_uid: str) -> None:
        with self._durable.begin() as connection:
            if index.lock_series(connection, series_uid) is None:
                self.objects.delete(series_prefix(series_uid))
            mine = tables.dropped_series.c.series_uid == series_uid
            connection.execute(sa.delete(tables.dropped_series).where(mine))

    @contextmanager
    def _available(self) -> Iterator[None]:
        """Say in one way that store or database does not answer."""
        try:
            yield
        except OSError as error:
            raise SpoolUnavailable(f"the archive cannot be written: {error.strerror or error}") from error
        except sa.exc.SQLAlchemyError as error:
            raise SpoolUnavailable(f"the database does not answer: {type(error).__name__}") from error

    def _take_lock(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise ConfigError(f"the archive {self.root} is in use by another process; stop it first") from None


def _check_series(row: sa.Row[tuple[object, ...]] | None, facts: Facts) -> None:
    """Raise Refusal where the series is here of another study or patient."""
    if row is None:
        return
    for keyword, known, new in (
        ("StudyInstanceUID", row.study_uid, facts.study_uid),
        ("PatientID", row.patient_id, index.plain(facts.patient_id)),
    ):
        if known != new:
            raise Refusal(
                "series-conflict",
                f"Series Instance UID {facts.series_uid} is already here with another {described(keyword)}; one of "
                "them is wrong: send the series under its own UID",
                uid=facts.series_uid,
            )

"""When a series is complete (contracts § 2), and handing its version on, once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import structlog

from voxtell_dicom.archive.kept import Kept
from voxtell_dicom.archive.spool import Spool
from voxtell_dicom.config import Peer, Receive
from voxtell_dicom.model import Series
from voxtell_dicom.receive.arrival import Sender

log = structlog.get_logger(__name__)


@dataclass
class _Watch:
    """A series that has news and was not handed on since."""

    last: float  # monotonic: last instance, or end of an association that touched it
    due: float  # monotonic: when to look at it next
    holds: set[str] = field(default_factory=set)  # open associations that have sent to it
    failed: set[str] = field(default_factory=set)  # SOP Instance UIDs that could not be stored
    news: int = 0


class Completion:
    """Watches the spool and calls `on_complete` with each version of a series that is complete, from one thread.

    peers: as in node.yaml; a peer's `quiet_s` holds for series whose newest instance it sent.
    missing: why slices are missing from a series, "" where none is; called outside all locks.
    on_complete must be idempotent: it is called again where it raised, and where we were killed before the spool had
    noted that it returned.
    """

    def __init__(
        self,
        spool: Spool,
        settings: Receive,
        peers: Mapping[str, Peer],
        on_complete: Callable[[Series], object],
        *,
        missing: Callable[[Series], str] = lambda _series: "",
    ) -> None:
        self._spool, self._settings, self._on_complete, self._missing = spool, settings, on_complete, missing
        self._quiet: dict[str, float] = {}
        for peer in peers.values():
            if peer.ae_title and peer.quiet_s:
                title = peer.ae_title.strip()
                self._quiet[title] = max(peer.quiet_s, self._quiet.get(title, 0.0))
        self._soonest = min([settings.quiet_s, *self._quiet.values()])
        self._changed = threading.Condition()
        self._watched: dict[str, _Watch] = {}
        self._touched: dict[str, set[str]] = {}  # association → series
        self._thread: threading.Thread | None = None
        self._stopping = False

    def start(self) -> None:
        """Take up what was not handed on before; the waiting begins anew, for senders that were cut off go on."""
        with self._changed:
            now = time.monotonic()
            for kept in self._spool.overview():
                if kept.starts and not kept.taken:
                    self._watched.setdefault(kept.series_uid, _Watch(now, now + self._soonest))
            self._stopping = False
        self._thread = threading.Thread(target=self._run, name="completion", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Return when no call of `on_complete` is under way any more. What is unfinished is taken up at the start."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread:
            self._thread.join()

    def arriving(self, sender: Sender, series_uid: str) -> None:
        """Before an instance is stored: from now on the open association holds the series."""
        with self._changed:
            watch = self._watch(series_uid)
            watch.holds.add(sender.association)
            self._touched.setdefault(sender.association, set()).add(series_uid)

    def stored(self, series_uid: str, sop_instance_uid: str) -> None:
        """After an instance was stored."""
        with self._changed:
            self._watch(series_uid).failed.discard(sop_instance_uid)

    def failed(self, series_uid: str, sop_instance_uid: str) -> None:
        """An instance could not be stored: the series waits for it like for a missing one."""
        with self._changed:
            self._watch(series_uid).failed.add(sop_instance_uid)

    def ended(self, sender: Sender, *, released: bool) -> None:
        """The association was released, or aborted or lost. Again is no error."""
        with self._changed:
            touched = self._touched.pop(sender.association, set())
        if not touched:
            return
        self._spool.note_end(sender, touched, released=released)
        with self._changed:
            for series_uid in touched:
                self._watch(series_uid).holds.discard(sender.association)
            self._changed.notify_all()

    def being_sent(self) -> set[str]:
        """The series to which an open association has sent."""
        with self._changed:
            return {uid for uid, watch in self._watched.items() if watch.holds}

    def _watch(self, series_uid: str) -> _Watch:
        now = time.monotonic()
        watch = self._watched.setdefault(series_uid, _Watch(now, now))
        watch.last, watch.due = now, now + self._soonest
        watch.news += 1
        return watch

    def _run(self) -> None:
        with self._changed:
            while not self._stopping:
                free = {uid: watch.due for uid, watch in self._watched.items() if not watch.holds}
                uid = min(free, key=free.__getitem__, default="")
                if not uid:
                    self._changed.wait()
                elif (left := free[uid] - time.monotonic()) > 0:
                    self._changed.wait(left)
                else:
                    self._look(uid, self._watched[uid])

    def _look(self, uid: str, watch: _Watch) -> None:
        """Decide on a series that no association holds and that is due. Called with the lock, gives it back between."""
        kept = self._spool.kept(uid)
        if kept is None or not kept.starts or kept.taken:
            del self._watched[uid]
            return
        quiet = self._wait(kept)
        if time.monotonic() < watch.last + quiet:
            watch.due = watch.last + quiet
            return
        series, news = self._spool.series(uid), watch.news
        if series is None:
            return
        with self._unlocked():
            reason = self._why_incomplete(kept, watch, series)
        if watch.news != news or watch.holds:
            return
        longer = watch.last + max(quiet, self._settings.incomplete_s)
        if reason and time.monotonic() < longer:
            watch.due = longer
            log.info("series waits for more", series_uid=uid, instances=kept.starts, reason=reason)
            return
        del self._watched[uid]
        series = replace(series, incomplete=reason)
        with self._unlocked():
            done = self._hand_on(series)
        if not done:
            again = self._watched.setdefault(uid, watch)
            again.due = max(again.due, time.monotonic() + quiet)

    def _hand_on(self, series: Series) -> bool:
        log.info(
            "series complete" if not series.incomplete else "series handed on incomplete",
            series_uid=series.series_uid,
            version=series.version[:12],
            instances=len(series.instances),
            **({"reason": series.incomplete} if series.incomplete else {}),
        )
        try:
            self._on_complete(series)
            self._spool.take(series.series_uid, series.version)
        except Exception:
            log.exception("series could not be handed on, will be tried again", series_uid=series.series_uid)
            return False
        return True

    def _why_incomplete(self, kept: Kept, watch: _Watch, series: Series) -> str:
        reasons = []
        if kept.lost:
            reasons.append("an association that sent to it was aborted or lost")
        if kept.images_in_acquisition > max(kept.starts, kept.frames):
            arrived = max(kept.starts, kept.frames)
            reasons.append(f"{arrived} of {kept.images_in_acquisition} Images in Acquisition (0020,1002) arrived")
        if watch.failed:
            reasons.append(f"{len(watch.failed)} instances were sent that could not be stored")
        try:
            reasons.append(self._missing(series))
        except Exception:
            log.exception("cannot tell whether slices are missing", series_uid=kept.series_uid)
        return "; ".join(reason for reason in reasons if reason)

    def _wait(self, kept: Kept) -> float:
        return self._quiet.get(kept.calling_ae, self._settings.quiet_s)

    @contextmanager
    def _unlocked(self) -> Iterator[None]:
        self._changed.release()
        try:
            yield
        finally:
            self._changed.acquire()

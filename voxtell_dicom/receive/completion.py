"""When a series is complete (contracts § 2), and handing its version on, once.

The rule follows from the data, not from the sender's manners: a series is complete when `quiet_s` have passed since the
later of its last new instance and the release of the association that brought it. An association that stays open, or
that broke, makes it wait `incomplete_s` instead, as do instances known to be missing; only those are a finding.
What is waited for lies in the index, with the time of the next look.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace

import sqlalchemy as sa
import structlog

from voxtell_dicom.archive.archive import Archive, EnqueueSeries
from voxtell_dicom.archive.instance import Sender
from voxtell_dicom.archive.summary import Links, SeriesSummary
from voxtell_dicom.config import Peer, Receive
from voxtell_dicom.model import Series

LONGEST_SLEEP_S = 1.0
_LOOKS = 10  # before the series that became due meanwhile are seen

log = structlog.get_logger(__name__)


class Completion:
    """Looks at the series that are due, from one thread, and hands over each version that is complete.

    peers: as in node.yaml; a peer's `quiet_s` holds for series whose newest instances it sent.
    enqueue: hands a version over, within the transaction that records it.
    missing: why slices are missing from a series, "" where none is; called outside all transactions.
    on_correction: called with the UID of a series of which headers were corrected, soon after.
    has_room: whether a series may be handed over now; else it waits here, where callers take turns.
    """

    def __init__(
        self,
        archive: Archive,
        settings: Receive,
        peers: Mapping[str, Peer],
        enqueue: EnqueueSeries,
        *,
        missing: Callable[[Series], str] = lambda _series: "",
        has_room: Callable[[], bool] = lambda: True,
        on_correction: Callable[[str], object] = lambda _series_uid: None,
    ) -> None:
        self._archive, self._settings, self._enqueue, self._missing = archive, settings, enqueue, missing
        self._has_room, self._on_correction = has_room, on_correction
        self._turns: dict[str, int] = {}  # by caller
        self._turn = 0
        self._quiet: dict[str, float] = {}
        for peer in peers.values():
            if peer.ae_title and peer.quiet_s:
                title = peer.ae_title.strip()
                self._quiet[title] = max(peer.quiet_s, self._quiet.get(title, 0.0))
        self._soonest = min([settings.quiet_s, *self._quiet.values()])
        self._started_at = float("-inf")
        self._changed = threading.Condition()
        self._sleeps_until = 0.0
        self._thread: threading.Thread | None = None
        self._stopping = False

    def start(self) -> None:
        """Look from now on; the waiting begins anew for what was not handed on, for senders that were cut off go on."""
        self._stopping = False
        self._started_at = self._archive.now()
        self._archive.make_due()  # the settings that decided when to look may have changed
        self._thread = threading.Thread(target=self._run, name="completion", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Return when nothing is being handed over any more. What is unfinished is taken up at the start."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread:
            self._thread.join()

    def stored(self) -> None:
        """Wake up in time for an instance that was stored just now."""
        if self._sleeps_until > self._archive.now() + self._soonest:
            self._wake()

    def ended(self, sender: Sender, *, released: bool) -> None:
        """Record that an association was released, or aborted or lost. Again is no error."""
        if self._archive.end_association(sender.association, released=released):
            self._wake()

    def run_once(self) -> None:
        """Look at some of the series that are due: first those of the callers that had their turn the longest ago."""
        self._archive.record_generation()
        for series_uid in self._archive.corrected():
            self._on_correction(series_uid)
            self._archive.forget_correction(series_uid)
        due = sorted(self._archive.due(), key=lambda one: self._turns.get(one[2], 0))
        for series_uid, due_at, caller in due[:_LOOKS]:
            if self._stopping or not self._has_room():
                return
            self._turn += 1
            self._turns = {**self._turns, caller: self._turn} if len(self._turns) < 1000 else {caller: self._turn}
            try:
                self._look(series_uid, due_at)
            except Exception:
                log.exception("series could not be handed on, will be tried again", series_uid=series_uid)
                self._archive.put_off(series_uid, self._archive.now() + self._soonest, before=due_at)

    def _wake(self) -> None:
        with self._changed:
            self._sleeps_until = 0.0
            self._changed.notify_all()

    def _run(self) -> None:
        while not self._stopping:
            sleep_s = LONGEST_SLEEP_S
            try:
                self.run_once()
                due_at = self._archive.next_due()
                if due_at is not None:
                    sleep_s = min(sleep_s, max(0.05, due_at - self._archive.now()))
            except (sa.exc.SQLAlchemyError, OSError) as error:
                log.warning("completion waits for the database", error=type(error).__name__)
            except Exception:
                log.exception("completion failed, will be tried again")
            with self._changed:
                self._sleeps_until = self._archive.now() + sleep_s
                if not self._stopping:
                    self._changed.wait(sleep_s)

    def _look(self, series_uid: str, due_at: float) -> None:
        """Hand a series over where it is complete, else put off the next look."""
        summary, links, unstored = self._archive.arrival_state(series_uid)
        if summary is None or not summary.starts or summary.handed_on:
            self._archive.settle(series_uid)
            return
        quiet = self._quiet.get(summary.calling_ae, self._settings.quiet_s)
        longer = max(quiet, self._settings.incomplete_s)
        last_new = max(summary.last_arrived, self._started_at)
        quiet_at = max(last_new, links.ended) + quiet
        latest_at = last_new + longer if links.open else max(last_new + longer, quiet_at)
        complete_at = latest_at if links.open or links.lost else quiet_at
        if self._archive.now() < complete_at:
            self._archive.put_off(series_uid, complete_at, before=due_at)
            return
        series = self._archive.series(series_uid)
        if series is None or series.version != summary.version:
            return
        reason = self._why_incomplete(summary, links, unstored, series)
        if reason and self._archive.now() < latest_at:
            self._archive.put_off(series_uid, latest_at, before=due_at)
            log.info("series waits for more", series_uid=series_uid, instances=summary.starts, reason=reason)
            return
        self._hand_over(replace(series, incomplete=reason))

    def _hand_over(self, series: Series) -> None:
        if self._archive.hand_over(series, self._enqueue):
            log.info(
                "series complete" if not series.incomplete else "series handed on incomplete",
                series_uid=series.series_uid,
                version=series.version[:12],
                instances=len(series.instances),
                **({"reason": series.incomplete} if series.incomplete else {}),
            )

    def _why_incomplete(self, summary: SeriesSummary, links: Links, unstored: int, series: Series) -> str:
        """Return what is known to be missing, "" where nothing is: however its associations ended, it is whole then."""
        arrived = max(summary.starts, summary.frames)
        reasons = []
        if summary.images_in_acquisition > arrived:
            expected = summary.images_in_acquisition
            reasons.append(f"{arrived} of {expected} Images in Acquisition (0020,1002) arrived")
        if unstored:
            reasons.append(f"{unstored} instances were sent that could not be stored")
        try:
            reasons.append(self._missing(series))
        except Exception:
            log.exception("cannot tell whether slices are missing", series_uid=summary.series_uid)
        reasons = [reason for reason in reasons if reason]
        if reasons and links.lost:
            reasons.insert(0, "an association that sent to it was aborted or lost")
        return "; ".join(reasons)

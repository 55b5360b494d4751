"""State of a connection that a peer opened, beside pynetdicom's own, and how many of them there may be."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from socket import SHUT_RDWR
from typing import Any, Final

import structlog
from pynetdicom.association import Association

from voxtell_dicom.config import Bounds
from voxtell_dicom.network.pdu_reader import PduReader
from voxtell_dicom.network.request_pdu import Request

# At the limit, an association without traffic for so long makes room for a new one.
YIELDS_AFTER_S: Final = 30.0
UNUSED_YIELDS_AFTER_S: Final = 2.0  # where no message came over it yet
_NOTED_EVERY_S: Final = 10.0

log = structlog.get_logger(__name__)


@dataclass
class Link:
    """A connection that a peer opened. request: its association request, once it is here; used: for a message."""

    host: str
    port: int
    bounds: Bounds
    reader: PduReader
    connections: Connections | None = None
    on_end: Callable[[Association], None] = lambda _association: None
    request: Request | None = None
    end_reason: str = ""
    admitted: bool = False
    used: bool = False
    serving: bool = False  # a message is being answered
    opened_at: float = field(default_factory=time.monotonic)

    @property
    def address(self) -> str:
        """The peer's address and port."""
        return f"{self.host}:{self.port}"

    def end(self, reason: str) -> None:
        """Record why the connection ends; the first reason counts."""
        self.end_reason = self.end_reason or reason


def new_link(host: str, port: int, bounds: Bounds) -> Link:
    """Return the state of a connection that was opened just now."""
    return Link(host, port, bounds, PduReader(bounds.pdu_kb * 1024, bounds.pdu_s))


def link_of(association: Any) -> Link | None:
    """Return the state of a connection that a peer opened; None where we opened it, or that has no bounds."""
    return getattr(association, "_link", None)


class Connections:
    """The open connections of a server. Those without an association make room for new ones, the oldest first.

    most: associations at once. per_address: connections of one address at once.
    """

    def __init__(self, most: int, per_address: int) -> None:
        self._most, self._per_address = most, per_address
        self._open: dict[Association, Link] = {}
        self._noted: dict[tuple[str, str], float] = {}
        self._unsaid: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def add(self, association: Association, link: Link) -> None:
        """Record a new connection; close the one without an association that it takes the place of."""
        with self._lock:
            self._open[association] = link
            alive = {one: other for one, other in self._open.items() if not other.end_reason}
            waiting = [one for one, other in alive.items() if not other.admitted and one is not association]
            crowd = ""  # the host whose oldest connection without an association is closed
            if sum(other.host == link.host for other in alive.values()) > self._per_address:
                crowd = link.host
            elif len(waiting) > self._most:
                crowd = Counter(self._open[one].host for one in waiting).most_common(1)[0][0]
            chosen = [one for one in waiting if self._open[one].host == crowd]
            victim = min(chosen, key=lambda one: self._open[one].opened_at, default=None)
            if victim is not None:
                self._open[victim].end("made room for newer connections: it has sent no association request")
        if victim is not None:
            cut(victim)

    def admit(self, association: Association) -> str:
        """Let a connection have an association. Returns "" or the setting whose limit is reached."""
        with self._lock:
            link = self._open.get(association)
            if link is None:
                return ""
            admitted = [one for one, other in self._open.items() if other.admitted]
            same = [one for one in admitted if self._open[one].host == link.host]
            if len(same) >= self._per_address:
                crowd, limit = same, "receive.bounds.connections_per_address reached"
            elif len(admitted) >= self._most:
                crowd, limit = admitted, "receive.max_associations reached"
            else:
                crowd, limit = [], ""
            over = {one: idle_s(one) - self._patience_s(one) for one in crowd}
            victim = max(over, key=over.__getitem__, default=None)
            if victim is not None:
                if over[victim] < 0:
                    return limit
                self._open[victim].end(f"made room for another: idle for {idle_s(victim):.0f} s, and {limit}")
                self._open[victim].admitted = False
            link.admitted = True
        if victim is not None:
            victim.abort(block=False)
        return ""

    def _patience_s(self, association: Association) -> float:
        return YIELDS_AFTER_S if self._open[association].used else UNUSED_YIELDS_AFTER_S

    def remove(self, association: Association) -> None:
        """Forget a connection that is closed."""
        with self._lock:
            self._open.pop(association, None)

    def open(self, *, admitted: bool) -> list[Association]:
        """Return the connections that have an association, or those that have none."""
        with self._lock:
            return [one for one, link in self._open.items() if link.admitted is admitted]

    def note(self, link: Link) -> None:
        """Log why a connection without an association ended; the same of one address once in a while, with a count."""
        key = (link.host, link.end_reason)
        now = time.monotonic()
        with self._lock:
            self._unsaid[key] += 1
            if now < self._noted.get(key, float("-inf")) + _NOTED_EVERY_S:
                return
            count = self._unsaid.pop(key)
            self._noted = {one: at for one, at in self._noted.items() if now < at + _NOTED_EVERY_S} | {key: now}
            self._unsaid = Counter({one: much for one, much in self._unsaid.items() if one in self._noted})
        log.warning("connection closed", reason=link.end_reason, address=link.address, connections=count)


def idle_s(association: Association) -> float:
    """Return for how long an association has had no traffic."""
    timer = association.dul._idle_timer
    return float((timer.timeout or 0.0) - timer.remaining) if timer.timeout else 0.0


def cut(association: Association) -> None:
    """Shut a connection down, so that whoever waits for it wakes up."""
    transport = association.dul.socket
    connection: Any = transport.socket if transport is not None else None
    if connection is not None:
        with suppress(OSError):
            connection.shutdown(SHUT_RDWR)


def wait_for_end(is_open: Callable[[], object], seconds: float) -> None:
    """Return when none is open any more, or after so many seconds. is_open: true, or those that are open."""
    until = time.monotonic() + seconds
    while is_open() and time.monotonic() < until:
        time.sleep(0.02)

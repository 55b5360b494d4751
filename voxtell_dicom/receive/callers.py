"""Who may have an association: both AE titles of a request, held against node.yaml."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from voxtell_dicom.config import Config

_PERMANENT, _TRANSIENT = 1, 2  # Result, PS3.8 Table 9-21
_BY_USER, _BY_PRESENTATION = 1, 3  # Source
_CALLING_UNKNOWN, _CALLED_UNKNOWN, _LIMIT_EXCEEDED = 3, 7, 2  # Reason/Diag.


@dataclass(frozen=True)
class Rejection:
    """Why an association is rejected: for the log, and Result, Source and Reason/Diag. for the caller.

    similar: a known title that differs only in case or blanks, "" where there is none.
    """

    reason: str
    answer: tuple[int, int, int]
    similar: str = ""


def limit_reached(limit: str) -> Rejection:
    """Return the rejection of a caller for whom there is no room now."""
    return Rejection(limit, (_TRANSIENT, _BY_PRESENTATION, _LIMIT_EXCEEDED))


class Callers:
    """The AE titles of the peers, and ours."""

    def __init__(self, config: Config) -> None:
        self.title = config.node.ae_title.strip()
        self.known = frozenset(peer.ae_title.strip() for peer in config.peers.values() if peer.ae_title)
        self._accept_unknown = config.receive.accept_unknown

    @property
    def nobody(self) -> bool:
        """Return whether no caller may have an association."""
        return not self.known and not self._accept_unknown

    def judge(self, calling: str, called: str) -> Rejection | None:
        """Return why titles are rejected; None where they are not."""
        unknown = (_PERMANENT, _BY_USER, _CALLING_UNKNOWN)
        if called != self.title:
            answer = (_PERMANENT, _BY_USER, _CALLED_UNKNOWN)
            return Rejection("called AE title is not ours", answer, _similar(called, {self.title}))
        if not calling.isprintable() or "\\" in calling:
            return Rejection("calling AE title holds characters that none may hold", unknown)
        if calling not in self.known and not self._accept_unknown:
            return Rejection("calling AE title is no peer", unknown, _similar(calling, self.known))
        return None


def _similar(title: str, known: Collection[str]) -> str:
    """Return the known title that differs only in case or blanks; "" if none does."""
    plain = "".join(title.split()).casefold()
    return next((name for name in sorted(known) if "".join(name.split()).casefold() == plain), "")

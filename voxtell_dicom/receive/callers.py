"""Decides who may have an association: AE titles, address and certificate of a caller, held against node.yaml."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from voxtell_dicom.config import Config
from voxtell_dicom.config.tls_settings import AddressRange
from voxtell_dicom.network.tls import has_subject, subject_text

_PERMANENT, _TRANSIENT = 1, 2  # Result, PS3.8 Table 9-21
_BY_USER, _BY_PRESENTATION = 1, 3  # Source
_NO_REASON, _CALLING_UNKNOWN, _CALLED_UNKNOWN, _LIMIT_EXCEEDED = 1, 3, 7, 2  # Reason/Diag.


@dataclass(frozen=True)
class Rejection:
    """Why an association is rejected: for the log, and Result, Source and Reason/Diag. for the caller.

    similar: a known title that differs only in case or blanks, "" where there is none.
    """

    reason: str
    answer: tuple[int, int, int]
    similar: str = ""


@dataclass(frozen=True)
class Caller:
    """The requestor of an association. subject: of the certificate that was verified, None without one."""

    calling: str
    called: str
    address: str
    subject: tuple[tuple[str, str], ...] | None = None
    tls: bool = False


def limit_reached(limit: str) -> Rejection:
    """Return the rejection of a caller for whom there is no room now."""
    return Rejection(limit, (_TRANSIENT, _BY_PRESENTATION, _LIMIT_EXCEEDED))


class Callers:
    """The AE titles of the peers, and ours; from where each may call, and with which certificate."""

    def __init__(self, config: Config) -> None:
        self.title = config.node.ae_title.strip()
        by_title: dict[str, list[tuple[Sequence[AddressRange], str | None]]] = {}
        for peer in config.peers.values():
            if peer.ae_title:
                conditions = peer.addresses, peer.certificate_subject
                by_title.setdefault(peer.ae_title.strip(), []).append(conditions)
        self._by_title = by_title
        self.known = frozenset(by_title)
        self._accept_unknown = config.receive.accept_unknown
        self._addresses = config.receive.addresses
        tls = config.node.dimse.tls
        self._subjects = tls.subjects if tls else []

    @property
    def nobody(self) -> bool:
        """Return whether no caller may have an association."""
        return not self.known and not self._accept_unknown

    def judge(self, caller: Caller) -> Rejection | None:
        """Return why a caller is rejected; None where it is not."""
        calling, called = caller.calling, caller.called
        unknown = (_PERMANENT, _BY_USER, _CALLING_UNKNOWN)
        if not _is_within(caller.address, self._addresses):
            return Rejection("address is not in receive.addresses", (_PERMANENT, _BY_USER, _NO_REASON))
        if called != self.title:
            answer = (_PERMANENT, _BY_USER, _CALLED_UNKNOWN)
            return Rejection("called AE title is not ours", answer, _similar(called, {self.title}))
        if not calling.isprintable() or "\\" in calling:
            return Rejection("calling AE title holds characters that none may hold", unknown)
        if calling not in self.known and not self._accept_unknown:
            return Rejection("calling AE title is no peer", unknown, _similar(calling, self.known))
        if caller.tls and self._subjects and not any(has_subject(caller.subject or (), one) for one in self._subjects):
            return Rejection(f"{_certificate(caller)} is not in node.dimse.tls.subjects", unknown)
        conditions = self._by_title.get(calling, [])  # of several peers with this title, one must fit
        reasons = [_unmet(caller, addresses, subject) for addresses, subject in conditions]
        return Rejection(reasons[0], unknown) if reasons and all(reasons) else None


def _unmet(caller: Caller, addresses: Sequence[AddressRange], subject: str | None) -> str:
    """Return what a caller is not that a peer must be, "" where it is all."""
    if not _is_within(caller.address, addresses):
        return "address is not in the peer's 'addresses'"
    if subject is None or has_subject(caller.subject or (), subject):
        return ""
    return f"{_certificate(caller)} is not the peer's 'certificate_subject'"


def _certificate(caller: Caller) -> str:
    if caller.subject is None:
        return "a caller without a certificate" if caller.tls else "a caller without TLS"
    return f"the certificate of {subject_text(caller.subject)}"


def _is_within(address: str, ranges: Sequence[AddressRange]) -> bool:
    """Return whether an address lies in one of the ranges; in none at all means everywhere."""
    if not ranges:
        return True
    found = ip_address(address.partition("%")[0])
    found = getattr(found, "ipv4_mapped", None) or found  # a caller with IPv4 on a port of both
    return any(found.version == one.version and found in one for one in ranges)


def _similar(title: str, known: Collection[str]) -> str:
    """Return the known title that differs only in case or blanks; "" if none does."""
    plain = "".join(title.split()).casefold()
    return next((name for name in sorted(known) if "".join(name.split()).casefold() == plain), "")

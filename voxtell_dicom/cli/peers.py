"""Test the connection to a peer: C-ECHO, a QIDO-RS query for one study, or a file written into a folder."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxtell_dicom.config import Peer
from voxtell_dicom.config.secrets import read_secret
from voxtell_dicom.errors import ConfigError

LONGEST_S = 10.0  # nobody wants to wait for a peer's whole timeout at a prompt


@dataclass(frozen=True)
class Answer:
    """What became of one question to one peer. `state`: ok, failed, or skipped (it only sends to us)."""

    peer: str
    kind: str  # "C-ECHO" | "QIDO-RS" | "folder" | "-"
    address: str
    state: str
    message: str
    milliseconds: int


def ask(name: str, peer: Peer, calling_ae: str) -> Answer:
    """Ask one peer. Never raises for what a peer, a link or a setting does wrong: that is the answer."""
    if peer.folder is not None:
        folder = peer.folder
        return _timed(name, "folder", str(folder), lambda: _write_into(folder))
    if peer.dicomweb is not None:
        return _timed(name, "QIDO-RS", peer.dicomweb, lambda: _query(peer))
    if peer.host is not None:
        return _timed(name, "C-ECHO", f"{peer.ae_title}@{peer.host}:{peer.port}", lambda: _echo(peer, calling_ae))
    return Answer(name, "-", str(peer.ae_title), "skipped", "only sends to us", 0)


class _NoAnswer(Exception):
    """The question failed; the message says why and what to look at."""


def _timed(name: str, kind: str, address: str, question: Callable[[], str]) -> Answer:
    began = time.monotonic()
    try:
        state, message = "ok", question()
    except _NoAnswer as error:
        state, message = "failed", str(error)
    return Answer(name, kind, address, state, message, round(1000 * (time.monotonic() - began)))


def _echo(peer: Peer, calling_ae: str) -> str:
    from pynetdicom import build_context
    from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

    from voxtell_dicom.network.associations import AssociationRequest, NotOpened, NotOpenedReason, open_association

    request = AssociationRequest(calling_ae, [build_context(Verification)], _longest_wait_s(peer))
    try:
        association = open_association(peer, request)
    except ConfigError as error:  # a file of its TLS settings
        raise _NoAnswer(str(error)) from None
    if isinstance(association, NotOpened):
        match association.reason:
            case NotOpenedReason.NAME_NOT_RESOLVED:
                raise _NoAnswer(f"no connection: {association.detail}")
            case NotOpenedReason.REJECTED_PERMANENT | NotOpenedReason.REJECTED_TRANSIENT:
                hint = f"does the peer know the AE title {calling_ae}?"
                raise _NoAnswer(f"association rejected: {association.detail}; {hint}")
            case NotOpenedReason.TLS_REFUSED:
                raise _NoAnswer(f"{association.detail}; check certificate, CA and profile on both sides")
            case NotOpenedReason.NO_CONNECTION:
                raise _NoAnswer("no connection; check host, port and firewall")
            case _:
                raise _NoAnswer("connected, but no answer to the association request; check host, port and firewall")
    try:
        status = association.send_c_echo()
    finally:
        association.release()
    if "Status" not in status:
        raise _NoAnswer("connected, but no answer to C-ECHO")
    if status.Status != 0x0000:
        raise _NoAnswer(f"C-ECHO answered {status.Status:04X}")
    return "answers over TLS" if peer.tls is not None else "answers"


def _query(peer: Peer) -> str:
    import requests

    session = requests.Session()
    try:
        if peer.token_env:
            session.auth = _bearer(read_secret(peer.token_env, ascii_only=True))
        elif peer.username_env and peer.password_env:
            user, password = read_secret(peer.username_env), read_secret(peer.password_env)
            session.auth = requests.auth.HTTPBasicAuth(user.encode(), password.encode())
    except ConfigError as error:
        raise _NoAnswer(str(error)) from None
    headers = {"Accept": "application/dicom+json"}
    url = f"{str(peer.dicomweb).rstrip('/')}/studies"
    try:
        response = session.get(url, params={"limit": "1"}, headers=headers, timeout=_longest_wait_s(peer))
    except requests.RequestException as error:
        raise _NoAnswer(f"no connection ({type(error).__name__}); check address and firewall") from error
    if response.status_code not in (200, 204):
        hint = {401: "; check the credentials", 403: "; check the credentials", 404: "; is this the DICOMweb root?"}
        raise _NoAnswer(f"HTTP {response.status_code}{hint.get(response.status_code, '')}")
    if response.status_code == 200 and "json" not in response.headers.get("Content-Type", ""):
        raise _NoAnswer("answers, but not in DICOM JSON; is this the DICOMweb root?")
    return "answers"


def _bearer(token: str) -> Callable[[Any], Any]:
    def sign(request: Any) -> Any:  # as auth, because a .netrc would overrule a plain header
        request.headers["Authorization"] = f"Bearer {token}"
        return request

    return sign


def _write_into(folder: Path) -> str:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _NoAnswer(f"cannot be written: {error.strerror}") from error
    return "can be written"


def _longest_wait_s(peer: Peer) -> float:
    return min(peer.timeout_s, LONGEST_S)

"""TLS contexts of our ports and towards peers (PS3.15 Annex B), renewed when their files change.

`RenewableContext` is for whoever opens or takes connections; its `for_server` for a server that holds one context, such
as uvicorn.
"""

from __future__ import annotations

import ssl
import stat
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import structlog
from cryptography import x509
from cryptography.x509.oid import NameOID

from voxtell_dicom.config.secrets import read_secret
from voxtell_dicom.config.tls_settings import PeerTls, ServerTls
from voxtell_dicom.errors import ConfigError

EXPIRES_SOON_D: Final = 30  # from then on the log, `check` and `health` say it
_LOOK_EVERY_S: Final = 1.0
_SAID_EVERY_S: Final = 24 * 3600.0

# TLS 1.2 suites; those of TLS 1.3 are OpenSSL's. Level 2: RSA of 2048 bits, curves of 224, no SHA-1 in certificates.
_RECOMMENDED: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"  # RFC 9325 section 4.2
_SUITES: Final = {
    "bcp195": f"{_RECOMMENDED}:@SECLEVEL=2",
    "bcp195-modified": f"{_RECOMMENDED}:ECDHE-ECDSA-AES128-CCM:ECDHE-ECDSA-AES256-CCM:@SECLEVEL=2",
    "aes": f"{_RECOMMENDED}:ECDHE+AES:AES128-SHA:AES256-SHA:@SECLEVEL=1",  # PS3.15 B.3: TLS_RSA_WITH_AES_128_CBC_SHA
}

log = structlog.get_logger(__name__)


class TlsFileError(ConfigError):
    """A file of a certificate, key or CA cannot be used; the message names it and says what to do."""

    code = "tls-file"


@dataclass(frozen=True)
class Expiry:
    """When a certificate of ours, or a CA, ends."""

    path: Path
    at: datetime

    def days_left(self, now: datetime | None = None) -> int:
        """Return the whole days until then, negative where it is past."""
        return (self.at - (now or datetime.now(UTC))) // timedelta(days=1)

    def in_words(self, now: datetime | None = None) -> str:
        """Return a sentence where it is soon or past, else ""."""
        left = self.days_left(now)
        if left > EXPIRES_SOON_D:
            return ""
        when = f"expired on {self.at:%Y-%m-%d}" if left < 0 else f"expires on {self.at:%Y-%m-%d}, in {left} days"
        return f"{self.path} {when}: renew it (a new file is taken without a restart)"


def server_context(settings: ServerTls) -> ssl.SSLContext:
    """Return the context of a port of ours. Raises TlsFileError, ConfigError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _restrict(context, settings.profile)
    context.options |= ssl.OP_NO_TICKET | ssl.OP_CIPHER_SERVER_PREFERENCE  # each caller is verified anew
    context.num_tickets = 0
    _load_own(context, settings)
    context.verify_mode = {
        "none": ssl.CERT_NONE,
        "request": ssl.CERT_OPTIONAL,
        "require": ssl.CERT_REQUIRED,
    }[settings.client_certificates]
    if settings.ca is not None:
        _load_ca(context, settings.ca)
    return context


def client_context(settings: PeerTls) -> ssl.SSLContext:
    """Return the context towards a peer. Raises TlsFileError, ConfigError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies certificate and name
    _restrict(context, settings.profile)
    context.check_hostname = settings.subject is None
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a certificate that `ca` holds is trusted as it is
    if settings.ca is None:
        context.load_default_certs()
    else:
        _load_ca(context, settings.ca)
    if settings.certificate is not None:
        _load_own(context, settings)
    return context


def _restrict(context: ssl.SSLContext, profile: str) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_SUITES[profile])
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION


def _load_own(context: ssl.SSLContext, settings: ServerTls | PeerTls) -> None:
    certificate, key = settings.certificate, settings.key
    assert certificate is not None
    assert key is not None
    check_key(key)
    _certificates(certificate)
    variable = settings.key_password_env

    def password() -> str:
        if variable is None:
            raise TlsFileError(f"{key} is encrypted: name the environment variable with its password, key_password_env")
        return read_secret(variable)

    try:
        context.load_cert_chain(certificate, key, password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsFileError(f"{key} is not the key of {certificate}: give the two that belong together") from None
        hint = f", or {variable} holds another password" if variable else ""
        raise TlsFileError(f"{certificate} or {key} cannot be used{hint}: {in_words(error)}") from None
    except OSError as error:
        raise TlsFileError(f"{certificate} or {key} cannot be read: {error.strerror}") from None


def check_key(path: Path) -> None:
    """Raise TlsFileError where a key is not there, or everybody on this machine may read it."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise TlsFileError(f"{path} cannot be read: {error.strerror}") from None
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise TlsFileError(f"{path} can be read by every user of this machine: chmod 0600 {path}")


def _load_ca(context: ssl.SSLContext, path: Path) -> None:
    _certificates(path)
    try:
        context.load_verify_locations(path)
    except OSError as error:  # SSLError among them
        raise TlsFileError(f"{path} holds no CA that can be used: {error.strerror or error}") from None


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise TlsFileError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise TlsFileError(f"{path} holds no certificate in PEM: convert it, or give the right file") from None


def expiries(settings: ServerTls | PeerTls) -> list[Expiry]:
    """Return when our certificate ends, and the last of the CAs that we trust. Raises TlsFileError."""
    wanted = ((settings.certificate, min), (settings.ca, max))
    return [
        Expiry(path, which(one.not_valid_after_utc for one in _certificates(path)))
        for path, which in wanted
        if path is not None
    ]


def own_certificate(settings: ServerTls) -> PeerTls:
    """Return how we reach our own port: the certificate is trusted as it is, whatever address it names."""
    own = _certificates(settings.certificate)[0].subject
    wanted = ",".join(f"CN={name.value!s}" for name in own.get_attributes_for_oid(NameOID.COMMON_NAME)[:1])
    return PeerTls(
        ca=settings.certificate,
        certificate=settings.certificate,
        key=settings.key,
        key_password_env=settings.key_password_env,
        subject=wanted or None,
        profile=settings.profile,
    )


class RenewableContext:
    """The context of some settings, made anew when a file of theirs changes.

    name: whose it is, for the log. A new file that cannot be used, or has expired, is logged, and the context stays.
    Raises TlsFileError, ConfigError.
    """

    def __init__(self, settings: ServerTls | PeerTls, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._name, self._clock = settings, name, clock
        self._lock = threading.Lock()
        self._seen = self._stamps()
        self._looked_at = clock()
        self._said_at = float("-inf")
        self._context = self._made()
        self._say_expiry()

    def current(self) -> ssl.SSLContext:
        """Return the context of the newest files that can be used."""
        with self._lock:
            now = self._clock()
            if now >= self._looked_at + _LOOK_EVERY_S:
                self._looked_at = now
                self._renew()
                self._say_expiry()
            return self._context

    def for_server(self) -> ssl.SSLContext:
        """Return a context that hands each connection to the newest one, for a server that takes one for all."""
        base = server_context(self._settings) if isinstance(self._settings, ServerTls) else self._made()

        def newest(connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext) -> None:
            connection.context = self.current()

        base.sni_callback = newest  # called without a name, too
        return base

    def _made(self) -> ssl.SSLContext:
        settings = self._settings
        return server_context(settings) if isinstance(settings, ServerTls) else client_context(settings)

    def _stamps(self) -> tuple[tuple[int, ...], ...]:
        found = []
        for path in (self._settings.certificate, self._settings.key, self._settings.ca):
            if path is not None:
                with suppress(OSError):
                    state = path.stat()
                    found.append((state.st_mtime_ns, state.st_size, state.st_ino, state.st_mode))
        return tuple(found)

    def _renew(self) -> None:
        stamps = self._stamps()
        if stamps == self._seen:
            return
        self._seen = stamps
        try:
            ended = [expiry for expiry in expiries(self._settings) if expiry.days_left() < 0]
            if ended:
                raise TlsFileError(ended[0].in_words())
            self._context = self._made()
        except ConfigError as error:
            log.error("new certificate not taken, the one before stays", of=self._name, reason=str(error))
            return
        self._said_at = float("-inf")
        log.info("new certificate taken", of=self._name)

    def _say_expiry(self) -> None:
        if self._clock() < self._said_at + _SAID_EVERY_S:
            return
        self._said_at = self._clock()
        with suppress(TlsFileError):
            for expiry in expiries(self._settings):
                if sentence := expiry.in_words():
                    log.warning("certificate expires", of=self._name, reason=sentence)


@lru_cache(maxsize=256)
def _context_of_peer(settings: PeerTls, name: str) -> RenewableContext:
    return RenewableContext(settings, name)


def context_for_peer(settings: PeerTls, name: str) -> ssl.SSLContext:
    """Return the context towards a peer, name: as in the log. Raises TlsFileError, ConfigError."""
    return _context_of_peer(settings, name).current()


_SHORT: Final = {
    "CN": "commonName",
    "O": "organizationName",
    "OU": "organizationalUnitName",
    "C": "countryName",
    "ST": "stateOrProvinceName",
    "L": "localityName",
    "DC": "domainComponent",
    "SERIALNUMBER": "serialNumber",
    "EMAIL": "emailAddress",
}


def subject_of(connection: Any) -> tuple[tuple[str, str], ...] | None:
    """Return the attributes of the subject of the verified certificate of the other side, None where there is none."""
    certificate = connection.getpeercert() if isinstance(connection, ssl.SSLSocket) else None
    if not certificate:
        return None
    subject: Any = certificate.get("subject", ())
    return tuple((name, value) for part in subject for name, value in part)


def subject_text(subject: Iterable[tuple[str, str]]) -> str:
    """Return a subject as it is written in node.yaml."""
    short = {long: name for name, long in _SHORT.items()}
    return ",".join(f"{short.get(name, name)}={value}" for name, value in subject)


def has_subject(subject: Iterable[tuple[str, str]], wanted: str) -> bool:
    """Return whether a subject has all attributes of a text like ``CN=ct1,O=Hospital``."""
    pairs = [part.split("=", 1) for part in wanted.split(",")]
    want = {(_SHORT.get(name.strip().upper(), name.strip()), value.strip()) for name, value in pairs}
    return want <= set(subject)


def in_words(error: OSError) -> str:
    """Return why a handshake or a file of TLS failed, in OpenSSL's words without its decoration."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return error.strerror or str(error) or type(error).__name__

"""Certificates for the tests: authorities of their own, good, expired and weak ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@cache
def rsa_key(number: int, bits: int = 2048) -> rsa.RSAPrivateKey:
    """Return a key; a number always gets the same one, because they take long to make."""
    return rsa.generate_private_key(65537, bits)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path

    @property
    def settings(self) -> dict[str, str]:
        """Return the settings as they stand in node.yaml."""
        return {"certificate": str(self.certificate), "key": str(self.key)}


class Authority:
    """A CA; `ca` is the file of its certificate."""

    def __init__(self, folder: Path, name: str, number: int) -> None:
        self._folder, self._key = folder, rsa_key(number)
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        self._own = (
            self._builder(self._name, self._key, now - timedelta(1), now + timedelta(3650))
            .add_extension(x509.BasicConstraints(True, None), True)
            .add_extension(usage, True)
            .sign(self._key, hashes.SHA256())
        )
        self.ca = folder / f"{name}.pem"
        self.ca.write_bytes(self._own.public_bytes(serialization.Encoding.PEM))

    def _builder(
        self, subject: x509.Name, key: rsa.RSAPrivateKey, since: datetime, until: datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(since)
            .not_valid_after(until)
        )

    def issue(
        self, name: str, *, number: int = 10, days: float = 365, bits: int = 2048, host: str = "", password: str = ""
    ) -> Pair:
        """Return a certificate for `name` (CN) and the loopback address, or `host` only; days: until it ends."""
        key, until = rsa_key(number, bits), datetime.now(UTC) + timedelta(days)
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Hospital"),
                x509.NameAttribute(NameOID.COMMON_NAME, name),
            ]
        )
        names: list[x509.GeneralName] = [x509.IPAddress(IPv4Address("127.0.0.1")), x509.DNSName("localhost")]
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            self._builder(subject, key, min(until, datetime.now(UTC)) - timedelta(30), until)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)] if host else names), False)
            .add_extension(x509.ExtendedKeyUsage(both), False)
            .sign(self._key, hashes.SHA256())
        )
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        lock = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
        kind = serialization.PrivateFormat.PKCS8
        pair.key.touch(0o600)
        pair.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, lock))
        return pair

"""TLS as node.yaml sets it (PS3.15 Annex B): of our ports, and towards a peer."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from voxtell_dicom.config.paths import LocalPath

# bcp195: PS3.15 B.12; bcp195-modified: B.13; aes: the retired B.3 that older devices and DCMTK's +pa speak.
TlsProfile = Literal["bcp195", "bcp195-modified", "aes"]

Subject = Annotated[
    str,
    Field(
        pattern=r"^\s*[A-Za-z]+\s*=[^,]+(,\s*[A-Za-z]+\s*=[^,]+)*$",
        description="attributes that the subject of a certificate must have, like CN=ct1.example,O=Hospital",
    ),
]


def _network(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return ip_network(value.strip())
    except ValueError as error:
        raise ValueError(f"'{value}' is no range of addresses like 10.1.0.0/16 or 10.1.2.3: {error}") from None


AddressRange = Annotated[
    IPv4Network | IPv6Network,
    BeforeValidator(_network),
    WithJsonSchema({"type": "string", "description": "an address or a range of them, like 10.1.0.0/16"}),
]


class Certificate(BaseModel):
    """A certificate of ours, with its key. PEM files; a renewed file is taken without a restart."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    certificate: LocalPath | None = None  # with the certificates between it and the CA, if there are some
    key: LocalPath | None = None  # readable by the node alone
    key_password_env: str | None = None  # names an environment variable

    @model_validator(mode="after")
    def _both(self) -> Certificate:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("'certificate' and 'key' go together")
        return self

    def with_base(self, base: Path) -> Self:
        """Return the settings with relative paths resolved against `base`."""
        names = ("certificate", "key", "ca")
        paths = {name: base / path for name in names if (path := getattr(self, name, None)) is not None}
        return self.model_copy(update=paths)


class ServerTls(Certificate):
    """TLS of a port of ours."""

    certificate: LocalPath
    key: LocalPath
    ca: LocalPath | None = None  # who signs the callers' certificates
    client_certificates: Literal["none", "request", "require"] = "none"  # request: one that is given must be right
    subjects: list[Subject] = []  # callers must have a certificate with one of these; default: any that `ca` signed
    profile: TlsProfile = "bcp195"
    port: int | None = Field(None, ge=0, le=65535)  # TLS on a port beside the plain one; default: instead of it

    @model_validator(mode="after")
    def _who_signs(self) -> ServerTls:
        if self.client_certificates != "none" and self.ca is None:
            raise ValueError(f"'client_certificates: {self.client_certificates}' needs 'ca', who signs them")
        if self.subjects and self.client_certificates == "none":
            raise ValueError("'subjects' needs 'client_certificates: require', or request")
        return self


class PeerTls(Certificate):
    """TLS towards a peer."""

    ca: LocalPath | None = None  # who signs the peer's certificate, or that certificate; default: the system's CAs
    name: str | None = Field(None, min_length=1)  # DNS name or address in the peer's certificate; default: its host
    subject: Subject | None = None  # of the peer's certificate, in the place of its name
    profile: TlsProfile = "bcp195"

    @model_validator(mode="after")
    def _one_check(self) -> PeerTls:
        if self.name and self.subject:
            raise ValueError("give 'name' or 'subject', not both")
        return self

"""Certificates and keys as files: renewed, broken, about to expire, readable by others, encrypted."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.network.conftest import wait_until
from tests.receive.receiving import Receiver
from tests.tls.authority import Authority, Pair
from tests.tls.conftest import Logs
from voxtell_dicom.config.tls_settings import PeerTls, ServerTls
from voxtell_dicom.errors import ConfigError
from voxtell_dicom.network.tls import RenewableContext, TlsFileError, client_context, server_context

Reasons = Callable[[], str]


def serial(port: int, authority: Authority) -> str:
    """Return the serial number of the certificate that a port shows now."""
    context = ssl.create_default_context(cafile=str(authority.ca))
    with (
        socket.create_connection(("127.0.0.1", port), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        found = connection.getpeercert()
    assert found
    return str(found["serialNumber"])


def replace(old: Pair, new: Pair) -> None:
    """Put the files of one pair into the place of another's, one after the other."""
    for source, target in ((new.certificate, old.certificate), (new.key, old.key)):
        shutil.copy2(source, target.with_suffix(".new"))
        target.with_suffix(".new").replace(target)


def test_a_renewed_certificate_is_taken_without_a_restart(
    receiver: Callable[..., Receiver], authority: Authority, ours: Pair, logs: Logs
) -> None:
    running = receiver()
    before = serial(running.port, authority)
    replace(ours, authority.issue("renewed", number=11))
    wait_until(lambda: any(line["event"] == "new certificate taken" for line in logs))
    assert serial(running.port, authority) != before


@pytest.mark.parametrize("how", ["no PEM", "another key", "expired", "gone", "open to all"])
def test_a_broken_one_is_not_taken_and_the_log_says_why(
    receiver: Callable[..., Receiver], authority: Authority, ours: Pair, reasons: Reasons, how: str
) -> None:
    running = receiver()
    before = serial(running.port, authority)
    said = f"{ours.certificate}"
    match how:
        case "no PEM":
            ours.certificate.write_text("-----BEGIN CERTIFICATE-----\nrubbish\n")
            said += " holds no certificate in PEM"
        case "another key":
            shutil.copy2(authority.issue("other", number=12).key, ours.key)
            said = f"{ours.key} is not the key of {ours.certificate}"
        case "expired":
            replace(ours, authority.issue("late", number=11, days=-1))
            said += " expired on"
        case "gone":
            ours.certificate.unlink()
            said += " cannot be read: No such file"
        case "open to all":
            ours.key.chmod(0o644)
            said = f"{ours.key} can be read by every user of this machine: chmod 0600"
    wait_until(lambda: said in reasons())
    assert serial(running.port, authority) == before


def test_a_client_takes_a_renewed_ca_too(authority: Authority, stranger: Authority) -> None:
    at = [0.0]
    renewable = RenewableContext(PeerTls(ca=authority.ca), "peer pacs", lambda: at[0])
    before = renewable.current()
    assert renewable.current() is before
    shutil.copy2(stranger.ca, authority.ca)
    at[0] = 2
    assert [ca["subject"] for ca in renewable.current().get_ca_certs()] == [((("commonName", "stranger"),),)]


def test_a_server_of_one_context_shows_the_newest_certificate(authority: Authority, ours: Pair) -> None:
    """As uvicorn does, which asks for its context once."""
    at = [0.0]
    renewable = RenewableContext(ServerTls.model_validate(ours.settings), "node.http.tls", lambda: at[0])
    client = ssl.create_default_context(cafile=str(authority.ca))

    async def serials() -> list[str]:
        server = await asyncio.start_server(
            lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=renewable.for_server()
        )
        port = server.sockets[0].getsockname()[1]
        found = []
        async with server:
            for _ in range(2):
                _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
                found.append(writer.get_extra_info("peercert")["serialNumber"])
                writer.close()
                replace(ours, authority.issue("renewed", number=11))
                at[0] += 2
        return found

    first, second = asyncio.run(serials())
    assert first != second


@pytest.mark.parametrize(("days", "said"), [(20, "in 19 days: renew it"), (-1, "expired on"), (40, "")])
def test_what_ends_soon_is_said_once_a_day(authority: Authority, logs: Logs, days: float, said: str) -> None:
    at = [0.0]
    pair = authority.issue("node", days=days)
    renewable = RenewableContext(ServerTls.model_validate(pair.settings), "node.dimse.tls", lambda: at[0])
    for seconds in (10, 20, 86_000, 86_500, 90_000):
        at[0] = seconds
        renewable.current()
    found = [line["reason"] for line in logs if line["event"] == "certificate expires"]
    assert len(found) == (2 if said else 0)
    assert all(said in reason and str(pair.certificate) in reason for reason in found)


def test_a_key_that_others_may_read_is_refused(authority: Authority) -> None:
    pair = authority.issue("node")
    for mode, fits in ((0o600, True), (0o440, True), (0o644, False), (0o602, False)):
        pair.key.chmod(mode)
        if fits:
            server_context(ServerTls.model_validate(pair.settings))
        else:
            with pytest.raises(TlsFileError, match="every user of this machine: chmod 0600"):
                server_context(ServerTls.model_validate(pair.settings))


def test_an_encrypted_key(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = authority.issue("node", password="sesame-7")
    with pytest.raises(TlsFileError, match="is encrypted: name the environment variable"):
        server_context(ServerTls.model_validate(pair.settings))
    settings = ServerTls.model_validate({**pair.settings, "key_password_env": "KEY_PASSWORD"})
    monkeypatch.delenv("KEY_PASSWORD", raising=False)
    with pytest.raises(ConfigError, match="KEY_PASSWORD is not set"):
        server_context(settings)
    monkeypatch.setenv("KEY_PASSWORD", "wrong-8")
    with pytest.raises(TlsFileError, match="or KEY_PASSWORD holds another password") as caught:
        server_context(settings)
    assert "wrong-8" not in str(caught.value)
    monkeypatch.setenv("KEY_PASSWORD", "sesame-7")
    server_context(settings)


@pytest.mark.parametrize("content", ["", "rubbish", None])
def test_a_ca_that_is_none(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(TlsFileError, match=r"ca\.pem (holds no certificate in PEM|cannot be read)"):
        client_context(PeerTls(ca=path))

"""DCMTK's and OpenSSL's clients at a port of ours that takes TLS: who gets in, and the line for whom it refuses."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from tests.network.conftest import wait_until
from tests.receive.receiving import Receiver, make_series, write_files
from tests.system.peers.dcmtk import ENVIRONMENT, echoscu
from tests.tls.authority import Authority, Pair

Start = Callable[..., Receiver]
Reasons = Callable[[], str]
REQUIRE = {"client_certificates": "require"}


def echo(port: int, *options: str, calling: str = "CT1") -> subprocess.CompletedProcess[str]:
    """C-ECHO of DCMTK with options of its own."""
    command = ["echoscu", "-to", "5", "-aet", calling, "-aec", "VOXTELL", *options, "127.0.0.1", str(port)]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False, timeout=60)


def anonymous(authority: Authority) -> list[str]:
    return ["+tla", "+cf", str(authority.ca)]


def certified(pair: Pair, authority: Authority) -> list[str]:
    return ["+tls", str(pair.key), str(pair.certificate), "+cf", str(authority.ca)]


@pytest.mark.parametrize(
    ("profile", "options"),
    [
        ("bcp195", ["+py"]),
        ("bcp195", ["+px"]),
        ("bcp195", ["+pz"]),
        ("bcp195-modified", ["+pz"]),
        ("aes", ["+pa"]),
        ("aes", ["+py"]),
    ],
)
def test_each_profile_of_dcmtk_that_fits(
    receiver: Start, authority: Authority, profile: str, options: list[str]
) -> None:
    running = receiver(tls={"profile": profile})
    found = echo(running.port, *anonymous(authority), *options)
    assert found.returncode == 0, found.stderr


def test_a_series_arrives_bit_for_bit_over_tls(receiver: Start, authority: Authority, tmp_path: Path) -> None:
    running = receiver(tls=REQUIRE, peers={"ct": {"ae_title": "CT1", "certificate_subject": "CN=ct1, O=Hospital"}})
    files = write_files(tmp_path / "sent", make_series(5, Rows=400, Columns=400, PixelData=bytes(320_000)))
    command = ["storescu", "-aet", "CT1", "-aec", "VOXTELL", *certified(authority.issue("ct1"), authority)]
    command += ["127.0.0.1", str(running.port), *map(str, files)]
    subprocess.run(command, check=True, capture_output=True, env=ENVIRONMENT, timeout=60)
    (series,) = running.wait(1)
    stored = {ds.SOPInstanceUID: ds for ds in map(dcmread, (Path(one) for one in paths_of(series)))}
    sent = {ds.SOPInstanceUID: ds for ds in map(dcmread, files)}
    assert stored == sent


def paths_of(series: Any) -> list[Path]:
    return [Path(instance.path) for instance in series.instances]


Refused = tuple[dict[str, Any], Callable[[Authority, Authority], list[str]], str]
REFUSED: dict[str, Refused] = {
    "plaintext": ({}, lambda _good, _bad: [], "no TLS: this port takes nothing else"),
    "no certificate": (REQUIRE, lambda good, _: anonymous(good), "peer did not return a certificate"),
    "another CA": (
        REQUIRE,
        lambda good, bad: certified(bad.issue("ct1"), good),
        "the certificate is not trusted: unable to get local issuer certificate",
    ),
    "another CA, where none is needed": (
        {"client_certificates": "request"},
        lambda good, bad: certified(bad.issue("ct1"), good),
        "the certificate is not trusted: unable to get local issuer certificate",
    ),
    "expired": (
        REQUIRE,
        lambda good, _: certified(good.issue("ct1", days=-1), good),
        "the certificate is not trusted: certificate has expired",
    ),
    "ours is not trusted": ({}, lambda _good, bad: anonymous(bad), "unknown ca"),
    "weak cipher": (
        {},
        lambda good, _: [*anonymous(good), "+pa", "+cs", "TLS_RSA_WITH_AES_128_CBC_SHA"],
        "no shared cipher",
    ),
    "unlisted": (
        {**REQUIRE, "subjects": ["CN=ct9"]},
        lambda good, _: certified(good.issue("ct1"), good),
        "the certificate of O=Hospital,CN=ct1 is not in node.dimse.tls.subjects",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_who_is_refused_and_the_line_that_says_why(
    receiver: Start, authority: Authority, stranger: Authority, reasons: Reasons, case: str
) -> None:
    settings, options, reason = REFUSED[case]
    running = receiver(tls=settings)
    found = echo(running.port, *options(authority, stranger))
    assert found.returncode != 0
    wait_until(lambda: reason in reasons())
    if case in ("plaintext", "unlisted"):
        assert "Association Rejected" in found.stderr


def test_a_weak_protocol_is_refused(receiver: Start, reasons: Reasons) -> None:
    running = receiver(tls={"profile": "aes"})
    command = [
        "openssl",
        "s_client",
        "-tls1_1",
        "-cipher",
        "DEFAULT@SECLEVEL=0",
        "-connect",
        f"127.0.0.1:{running.port}",
    ]
    found = subprocess.run(command, input=b"", capture_output=True, check=False, timeout=60)
    assert found.returncode != 0
    wait_until(lambda: "unsupported protocol" in reasons())


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_both_versions_are_spoken(receiver: Start, authority: Authority, version: str) -> None:
    running = receiver()
    command = ["openssl", "s_client", version, "-CAfile", str(authority.ca), "-verify_return_error"]
    command += ["-connect", f"127.0.0.1:{running.port}"]
    subprocess.run(command, input=b"", capture_output=True, check=True, timeout=60)


def test_tls_at_a_port_without_it(tmp_path: Path, authority: Authority, reasons: Reasons) -> None:
    running = Receiver(tmp_path / "spool")
    try:
        assert echo(running.port, *anonymous(authority)).returncode != 0
        wait_until(lambda: "TLS on a port without TLS (node.dimse.tls)" in reasons())
    finally:
        running.close()


def test_a_port_with_tls_beside_the_plain_one(receiver: Start, authority: Authority) -> None:
    running = receiver(tls={"port": 0})
    assert running.scp.tls_port != running.port
    assert echoscu(running.port, calling="CT1")
    assert echo(running.scp.tls_port or 0, *anonymous(authority)).returncode == 0


def test_a_handshake_that_never_comes_keeps_nobody_waiting(
    receiver: Start, authority: Authority, reasons: Reasons
) -> None:
    running = receiver(bounds={"request_s": 600})
    address = ("127.0.0.1", running.port)
    with socket.create_connection(address), socket.create_connection(address) as halfway:
        halfway.sendall(b"\x16\x03\x01")
        assert echo(running.port, *anonymous(authority)).returncode == 0
        assert reasons() == ""
        running.close()  # nor the stop
        halfway.settimeout(60)
        with suppress(ConnectionResetError):
            assert halfway.recv(1) == b""


def test_a_handshake_is_bounded(receiver: Start, reasons: Reasons) -> None:
    running = receiver(bounds={"request_s": 0.3})
    with socket.create_connection(("127.0.0.1", running.port)):
        wait_until(lambda: "no TLS handshake within 0.3 s (receive.bounds.request_s)" in reasons())


def test_nothing_of_a_plain_caller_is_read_as_dicom(receiver: Start, reasons: Reasons) -> None:
    """A request behind as much as is read away at the end of the connection is not answered either."""
    running = receiver(accept_unknown=True)
    request = bytes.fromhex("0100000000cd00010000") + b"VOXTELL".ljust(16) + b"CT1".ljust(16)
    with socket.create_connection(("127.0.0.1", running.port)) as plain:
        plain.settimeout(30)
        plain.sendall(request + bytes(1 << 17))
        answer = b""
        try:
            while part := plain.recv(4096):
                answer += part
        except ConnectionResetError:
            pass
    assert answer[:1] in (b"", b"\x03")
    wait_until(lambda: "no TLS: this port takes nothing else" in reasons())


@pytest.mark.parametrize(
    ("settings", "peer", "reason"),
    [
        ({"addresses": ["10.0.0.0/8"]}, {}, "address is not in receive.addresses"),
        ({}, {"addresses": ["10.0.0.0/8", "::1"]}, "address is not in the peer's 'addresses'"),
        ({}, {"certificate_subject": "CN=other"}, "the certificate of O=Hospital,CN=ct1 is not the peer's"),
        ({"addresses": ["127.0.0.0/8"]}, {"addresses": ["127.0.0.1"], "certificate_subject": "CN=ct1"}, ""),
    ],
)
def test_who_may_call_from_where(
    receiver: Start,
    authority: Authority,
    reasons: Reasons,
    settings: dict[str, Any],
    peer: dict[str, Any],
    reason: str,
) -> None:
    running = receiver(tls=REQUIRE, peers={"ct": {"ae_title": "CT1", **peer}}, **settings)
    found = echo(running.port, *certified(authority.issue("ct1"), authority))
    assert (found.returncode == 0) is (reason == ""), found.stderr
    if reason:
        assert "Association Rejected" in found.stderr
        assert reason in reasons()

"""Associations that we request over TLS: DCMTK's storescp and Orthanc, and each way in which it comes to nothing."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deliver.small_seg import write_small_seg
from tests.deliver.test_dimse import dataset_bytes
from tests.receive.receiving import Receiver
from tests.system.peers.dcmtk import StoreScp
from tests.system.peers.orthanc import Orthanc
from tests.tls.authority import Authority, Pair
from voxtell_dicom.cli.peers import ask
from voxtell_dicom.config import Peer
from voxtell_dicom.deliver import deliver
from voxtell_dicom.model import Outcome, Result


def send(result: Result, port: int, title: str = "STORESCP", timeout_s: float = 60, **tls: Any) -> Outcome:
    peer = Peer.model_validate(
        {"ae_title": title, "host": "127.0.0.1", "port": port, "timeout_s": timeout_s, "tls": tls}
    )
    return deliver(result, peer, calling_ae="VOXTELL", name="pacs")


def options(pair: Pair, *more: str) -> list[str]:
    return ["+tls", str(pair.key), str(pair.certificate), *more]


@pytest.fixture
def fresh(tmp_path: Path) -> Result:
    return write_small_seg(tmp_path)


@pytest.fixture
def large(tmp_path: Path) -> Result:
    return write_small_seg(tmp_path, frames=40, side=512)


@pytest.mark.parametrize("profile", ["+py", "+px", "+pz"])
def test_storescp_gets_the_very_bytes(authority: Authority, tmp_path: Path, large: Result, profile: str) -> None:
    pair = authority.issue("pacs")
    with StoreScp(tmp_path / "in", *options(pair, "-ic", profile)) as scp:
        outcome = send(large, scp.port, ca=str(authority.ca))
        stored = [dataset_bytes(path) for path in scp.files]
    assert outcome.state == "delivered", outcome.message
    assert stored == [dataset_bytes(large.path)]


def test_storescp_of_the_retired_profile(authority: Authority, tmp_path: Path, fresh: Result) -> None:
    pair = authority.issue("pacs")
    old = options(pair, "-ic", "+pa", "+cs", "TLS_RSA_WITH_AES_128_CBC_SHA")
    with StoreScp(tmp_path / "in", *old) as scp:
        refused = send(fresh, scp.port, ca=str(authority.ca))
        outcome = send(fresh, scp.port, ca=str(authority.ca), profile="aes")
    assert (refused.state, refused.status) == ("failed", "TLS refused")
    assert outcome.state == "delivered", outcome.message


def test_one_that_demands_a_certificate(
    authority: Authority, stranger: Authority, tmp_path: Path, fresh: Result
) -> None:
    pair, own, foreign = authority.issue("pacs"), authority.issue("voxtell"), stranger.issue("someone")
    expired = authority.issue("late", days=-1)
    ca = str(authority.ca)
    with StoreScp(tmp_path / "in", *options(pair, "-rc", "+cf", ca)) as scp:
        assert send(fresh, scp.port, ca=ca, **own.settings).state == "delivered"
        for settings in ({}, foreign.settings, expired.settings):
            refused = send(fresh, scp.port, ca=ca, **settings)
            assert (refused.state, refused.status) == ("failed", "TLS refused"), refused
            assert "alert" in refused.message


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("wrong CA", "not trusted: unable to get local issuer certificate"),
        ("expired", "not trusted: certificate has expired"),
        ("another name", "not trusted: IP address mismatch"),
        ("another subject", "has the subject O=Hospital,CN=pacs, not CN=archive"),
        ("given name", ""),
        ("given subject", ""),
        ("pinned", ""),
    ],
)
def test_whom_we_trust(
    authority: Authority, stranger: Authority, tmp_path: Path, fresh: Result, case: str, reason: str
) -> None:
    named = case in ("another name", "another subject", "given name", "given subject")
    days = -1 if case == "expired" else 365
    pair = authority.issue("pacs", days=days, host="pacs.example" if named else "")
    more = {
        "wrong CA": {"ca": str(stranger.ca)},
        "another subject": {"subject": "CN=archive"},
        "given name": {"name": "pacs.example"},
        "given subject": {"subject": "CN = pacs"},
        "pinned": {"ca": str(pair.certificate)},
    }
    with StoreScp(tmp_path / "in", *options(pair, "-ic")) as scp:
        outcome = send(fresh, scp.port, **{"ca": str(authority.ca), **more.get(case, {})})
        assert len(scp.files) == (0 if reason else 1)
    if reason:
        assert (outcome.state, outcome.status) == ("failed", "TLS refused")
        assert reason in outcome.message
    else:
        assert outcome.state == "delivered", outcome.message


def test_a_peer_without_tls(authority: Authority, tmp_path: Path, fresh: Result) -> None:
    with StoreScp(tmp_path / "in") as scp:
        outcome = send(fresh, scp.port, timeout_s=5, ca=str(authority.ca))
        assert not scp.files
    assert outcome.state in ("retry", "failed")
    assert "TLS" in outcome.message


def test_a_file_that_cannot_be_used_is_an_error_of_the_settings(tmp_path: Path, fresh: Result) -> None:
    outcome = send(fresh, 104, ca=str(tmp_path / "gone.pem"))
    assert (outcome.state, outcome.status) == ("failed", "settings")
    assert "gone.pem cannot be read" in outcome.message


@pytest.fixture
def mute(authority: Authority) -> Iterator[int]:
    """Return a port that makes a TLS connection and then says no more."""
    pair = authority.issue("mute")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        held = []

        def take() -> None:
            try:
                held.append(context.wrap_socket(listening.accept()[0], server_side=True))
            except OSError:
                return

        threading.Thread(target=take, daemon=True).start()
        yield listening.getsockname()[1]
        for one in held:
            one.close()


def test_a_peer_that_says_nothing_behind_its_handshake(authority: Authority, mute: int, fresh: Result) -> None:
    outcome = send(fresh, mute, timeout_s=0.5, ca=str(authority.ca))
    assert (outcome.state, outcome.status) == ("retry", "lost link")


def test_orthanc_over_tls_both_ways(
    receiver: Callable[..., Receiver], authority: Authority, tmp_path: Path, large: Result
) -> None:
    """Orthanc demands our certificate, and we demand Orthanc's."""
    pair, own = authority.issue("orthanc"), authority.issue("voxtell")
    node = receiver(tls={"client_certificates": "require"}, peers={"pacs": {"ae_title": "ORTHANC"}})
    settings = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(pair.certificate),
        "DicomTlsPrivateKey": str(pair.key),
        "DicomTlsTrustedCertificates": str(authority.ca),
        "DicomModalities": {
            "node": {"AET": "VOXTELL", "Host": "127.0.0.1", "Port": node.port, "UseDicomTls": True},
        },
    }
    with Orthanc(tmp_path / "orthanc", settings=settings) as orthanc:
        ca = str(authority.ca)
        refused = send(large, orthanc.dicom_port, "ORTHANC", ca=ca)
        assert (refused.state, refused.status) == ("failed", "TLS refused")
        outcome = send(large, orthanc.dicom_port, "ORTHANC", ca=ca, **own.settings)
        assert outcome.state == "delivered", outcome.message
        (instance,) = orthanc.instances(large.study_uid)
        copy = tmp_path / "copy.dcm"
        copy.write_bytes(orthanc.download(instance))
        assert dataset_bytes(copy) == dataset_bytes(large.path)
        orthanc.post("/modalities/node/echo", {})
        peer = orthanc.peer(tls={"ca": ca, **own.settings})
        assert ask("pacs", peer, "VOXTELL").message == "answers over TLS"

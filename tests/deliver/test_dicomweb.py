"""Each row of contracts § 4 over STOW-RS, against a DICOMweb server that answers by script."""

from __future__ import annotations

import base64
import logging
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.system.peers.ports import free_port
from tests.system.peers.scripted_stow import Answer, ScriptedStow, failed, referenced
from tests.system.peers.slow_link import SlowLink
from voxtell_dicom.config import Peer
from voxtell_dicom.deliver import deliver, dicomweb
from voxtell_dicom.model import Outcome, Result
from voxtell_dicom.workflow.deliver import with_detail

STORED_XML = """<?xml version="1.0" encoding="UTF-8"?>
<NativeDicomModel><DicomAttribute tag="00081199" vr="SQ" keyword="ReferencedSOPSequence"><Item number="1">
<DicomAttribute tag="00081155" vr="UI" keyword="ReferencedSOPInstanceUID"><Value number="1">{}</Value></DicomAttribute>
</Item></DicomAttribute></NativeDicomModel>"""


def send(result: Result, peer: Peer) -> Outcome:
    return deliver(result, peer, calling_ae="VOXTELL", name="archive")


ROWS: list[tuple[int | Answer | str, str, str, bool]] = [
    (Answer(200, referenced), "delivered", "HTTP 200", False),
    (Answer(200, lambda uid: STORED_XML.format(uid).encode(), "application/dicom+xml"), "delivered", "HTTP 200", False),
    (Answer(200, lambda uid: referenced(uid, 0xB000)), "delivered", "HTTP 200", True),
    (Answer(202, lambda uid: referenced(uid, 0xB007)), "delivered", "HTTP 202", True),
    (Answer(202, referenced), "delivered", "HTTP 202", True),
    ("drop", "retry", "lost link", False),
    (408, "retry", "HTTP 408", False),
    (425, "retry", "HTTP 425", False),
    (429, "retry", "HTTP 429", False),
    (500, "retry", "HTTP 500", False),
    (Answer(503, b"<html>Service Unavailable</html>", "text/html"), "retry", "HTTP 503", False),
    (504, "retry", "HTTP 504", False),
    (307, "failed", "HTTP 307", False),
    (400, "failed", "HTTP 400", False),
    (401, "failed", "HTTP 401", False),
    (403, "failed", "HTTP 403", False),
    (404, "failed", "HTTP 404", False),
    (413, "failed", "HTTP 413", False),
    (415, "failed", "HTTP 415", False),
    (Answer(200, lambda uid: failed(uid, 0xA900)), "failed", "HTTP 200", False),
    (Answer(202, lambda uid: failed(uid, 0xC000)), "failed", "HTTP 202", False),
    (Answer(409, lambda uid: failed(uid, 0x0110)), "failed", "HTTP 409", False),
]


@pytest.mark.parametrize(("step", "state", "status", "warning"), ROWS)
def test_each_answer_has_its_outcome(
    spooled: Result, step: int | Answer | str, state: str, status: str, warning: bool
) -> None:
    with ScriptedStow([step]) as server:
        outcome = send(spooled, server.peer())
        again = send(spooled, server.peer())
    assert (outcome.state, outcome.status, outcome.warning) == (state, status, warning)
    for word in ("archive", spooled.sop_instance_uid, status):
        assert word in outcome.message
    assert ("jobs retry" in outcome.message) == (state == "failed")
    assert again.state == "delivered"
    assert len(server.posted) == 2, "each delivery is one request: repeating is the workflow's"


def test_the_reason_of_a_failure_is_named(spooled: Result) -> None:
    with ScriptedStow([Answer(200, lambda uid: failed(uid, 0xA900))]) as server:
        assert "A900, data set does not match SOP class" in send(spooled, server.peer()).message


@pytest.mark.parametrize(
    "step",
    [409, Answer(409, lambda uid: failed(uid, 0x0111)), Answer(202, lambda uid: failed(uid, 0x0111))],
    ids=["409", "409 with 0111", "202 with 0111"],
)
@pytest.mark.parametrize(
    ("there", "qido", "state"),
    [(True, 200, "delivered"), (False, 200, "failed"), (True, 404, "failed"), (True, 503, "retry")],
    ids=["there", "not there", "no QIDO", "QIDO busy"],
)
def test_a_conflict_is_looked_up(spooled: Result, step: int | Answer, there: bool, qido: int, state: str) -> None:
    holds = [spooled.sop_instance_uid] if there else ["1.2.3"]
    with ScriptedStow([step], holds=holds, qido=qido) as server:
        assert send(spooled, server.peer()).state == state
        assert server.lookups == 1


@pytest.mark.parametrize("status", [200, 202])
def test_what_is_stored_after_the_answer_is_delivered(
    spooled: Result, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dicomweb, "FIRST_PAUSE_S", 0.01)
    with ScriptedStow([status], holds=[spooled.sop_instance_uid], shown_after=4) as server:
        outcome = send(spooled, server.peer())
        assert (outcome.state, outcome.status) == ("delivered", f"HTTP {status}")
        assert (len(server.posted), server.lookups) == (1, 5)


@pytest.mark.parametrize(
    ("qido", "state", "several"), [(200, "failed", True), (404, "failed", False), (503, "retry", False)]
)
def test_what_is_never_shown_fails_after_the_stated_time(
    spooled: Result, qido: int, state: str, several: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dicomweb, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(dicomweb, "SHOWN_WITHIN_S", 0.1)
    with ScriptedStow([202], holds=["1.2.3"], qido=qido) as server:
        assert send(spooled, server.peer()).state == state
        assert (server.lookups > 1) == several


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"error": "Patient DOE is locked"}', '{"error": "Patient DOE is locked"}'),
        (b"<html><style>p {}</style><p>No such\n\n<b>study</b></p></html>", "No such study"),
        (b"line\x1b[31m red", "line [31m red"),
        (b"x" * 100_000, "x" * 497 + "..."),
        (b"", ""),
    ],
)
def test_the_reason_in_a_body_is_stored_and_not_logged(
    spooled: Result, body: bytes, detail: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with ScriptedStow([Answer(400, body)]) as server:
        outcome = send(spooled, server.peer())
    assert outcome.detail == detail
    stored = with_detail(outcome)
    assert stored.message == outcome.message + (f"; the peer says: {detail}" if detail else "")
    assert not detail or (detail not in outcome.message and detail not in caplog.text)


def test_the_very_bytes_arrive_in_one_plain_request(spooled: Result, large: Result) -> None:
    with ScriptedStow() as server:
        assert send(spooled, server.peer()).state == "delivered"
        assert send(large, server.peer()).state == "delivered"
    assert large.path.stat().st_size > 1_000_000
    for result, posted in zip((spooled, large), server.posted, strict=True):
        assert posted.file == result.path.read_bytes()
        assert posted.path == "/dicom-web/studies"
        assert posted.headers["Content-Length"] == str(posted.length)
        assert posted.headers["Accept"] == "application/dicom+json"


def test_a_large_object_is_whole_again_after_503(large: Result) -> None:
    with ScriptedStow([503, 429]) as server:
        states = [send(large, server.peer()).state for _ in range(3)]
    assert states == ["retry", "retry", "delivered"]
    assert [p.file for p in server.posted] == [large.path.read_bytes()] * 3


def test_a_thin_line_is_given_the_time_it_needs(large: Result) -> None:
    with (
        ScriptedStow() as server,
        SlowLink(urlsplit(server.url).port or 0, bytes_per_s=large.path.stat().st_size / 8) as link,
    ):
        peer = Peer(dicomweb=f"http://127.0.0.1:{link.port}/dicom-web", timeout_s=5)
        assert send(large, peer).state == "delivered"


def test_nobody_there_is_sent_again(spooled: Result) -> None:
    outcome = send(spooled, Peer(dicomweb=f"http://127.0.0.1:{free_port()}/dicom-web", timeout_s=2))
    assert (outcome.state, outcome.status) == ("retry", "no connection")
    assert "Connection refused" in outcome.message
    outcome = send(spooled, Peer(dicomweb="http://no-such-host.invalid/dicom-web", timeout_s=2))
    assert (outcome.state, outcome.status) == ("retry", "no connection")


def test_tls_is_checked(spooled: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    request += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(request, check=True, capture_output=True)
    both = tmp_path / "both.pem"
    both.write_text(key.read_text() + certificate.read_text())
    with ScriptedStow(certificate=both) as server:
        outcome = send(spooled, server.peer())
        assert (outcome.state, outcome.status) == ("failed", "TLS refused")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        assert send(spooled, server.peer()).state == "delivered"
    with ScriptedStow() as plain:
        outcome = send(spooled, Peer(dicomweb=plain.url.replace("http:", "https:"), timeout_s=2))
        assert (outcome.state, outcome.status) == ("retry", "lost link")


def test_credentials_come_from_the_environment_and_stay_out_of_sight(
    spooled: Result, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password other\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("PACS_USER", "röntgen")
    monkeypatch.setenv("PACS_PASSWORD", "geheim-7Q")
    monkeypatch.setenv("PACS_TOKEN", "token-9Z")
    caplog.set_level(logging.DEBUG)
    with ScriptedStow([403, 403]) as server:
        basic = send(spooled, server.peer(username_env="PACS_USER", password_env="PACS_PASSWORD"))
        bearer = send(spooled, server.peer(token_env="PACS_TOKEN"))
    sent = [p.headers["Authorization"] for p in server.posted]
    assert sent == ["Basic " + base64.b64encode("röntgen:geheim-7Q".encode()).decode(), "Bearer token-9Z"]
    told = caplog.text + basic.message + bearer.message + server.posted[0].path
    assert not any(secret in told for secret in ("geheim-7Q", "token-9Z", sent[0]))


@pytest.mark.parametrize(
    ("peer", "word"),
    [
        (Peer(dicomweb="http://127.0.0.1:9", token_env="NOT_SET_ANYWHERE"), "NOT_SET_ANYWHERE"),
        (Peer(dicomweb="http://127.0.0.1:9", username_env="HOME", password_env="NOT_SET_TOO"), "NOT_SET_TOO"),
    ],
)
def test_a_wrong_setting_is_named(spooled: Result, peer: Peer, word: str) -> None:
    outcome = send(spooled, peer)
    assert (outcome.state, outcome.status) == ("failed", "settings")
    assert word in outcome.message

"""Requests that mean harm or are broken: no 5xx but 503, nothing outside the storage, others are served meanwhile.

`make hostile` for the long run.
"""

from __future__ import annotations

import http.client
import os
import random
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
import requests
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

from tests.receive.receiving import make_series
from tests.system.node_process import NodeProcess
from tests.web.messages import message, part10, root, store

COUNT = int(os.environ.get("VOXTELL_DICOM_HOSTILE_MULTIPARTS", "200"))
QUIET = {"SOPClassUID": SecondaryCaptureImageStorage}
PATHS = (
    "/dicomweb/studies/{}",
    "/dicomweb/studies/{}/metadata",
    "/dicomweb/studies/{}/series",
    "/dicomweb/studies/1.2/series/{}",
    "/dicomweb/studies/1.2/series/{}/metadata",
    "/dicomweb/studies/1.2/series/1.2.3/instances/{}",
    "/dicomweb/studies/1.2/series/1.2.3/instances/{}/frames/1",
    "/dicomweb/studies/1.2/series/1.2.3/instances/1.2.3.4/frames/{}",
    "/dicomweb/studies/1.2/series/1.2.3/instances/1.2.3.4/bulkdata/{}",
    "/dicomweb/studies/1.2/series/1.2.3/instances/{}/rendered",
    "/dicomweb/studies?StudyInstanceUID={}",
    "/dicomweb/instances?SOPInstanceUID={}",
)
TRAVERSALS = (
    "../../../../etc/passwd",
    "..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e",
    "..",
    "....//....//etc",
    "%00",
    "1.2%00.3",
    "1.2%0d%0aX-Injected:%201",
    "1.2\\..\\..",
    "%c0%ae%c0%ae",
    "1.2;x",
    "1.2'%20OR%20'1'='1",
    "1" * 5000,
)


def good(node: NodeProcess) -> bool:
    """Return whether a good request is served."""
    return store(node, [part10(make_series(1, study_uid=generate_uid(), **QUIET)[0])]).status_code == 200


def rss_mb(pid: int) -> float:
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


def files(node: NodeProcess) -> set[str]:
    """Return what lies beside the storage folder of the node."""
    return {str(path) for path in node.folder.rglob("*") if not path.is_relative_to(node.storage)}


def broken(body: bytes, chance: random.Random) -> bytes:
    """Return a message with one to four faults."""
    data = bytearray(body)
    for _ in range(chance.randint(1, 4)):
        if not data:
            break
        at, size = chance.randrange(len(data)), chance.randint(1, 200)
        kind = chance.randrange(6)
        if kind == 0:
            data[at : at + size] = chance.randbytes(size)
        elif kind == 1:
            del data[at : at + size]
        elif kind == 2:
            data[at:at] = data[at : at + size]
        elif kind == 3:
            del data[max(1, at) :]
        elif kind == 4:
            data[at:at] = chance.choice(
                (b"\r\n--b\r\n", b"--b--\r\n", b"\r\n\r\n", b"Content-Type: x\r\n", b"\0" * size)
            )
        else:
            head = chance.randrange(min(len(data), 300))
            data[head] = chance.randrange(256)
    return bytes(data)


def test_malformed_messages(node: NodeProcess) -> None:
    chance = random.Random(12)
    series = make_series(2, study_uid=generate_uid(), **QUIET)
    body, content_type = message([part10(one) for one in series], boundary="b")
    before, statuses = files(node), set()
    with requests.Session() as session:
        for number in range(COUNT):
            sent = broken(body, chance)
            answer = session.post(
                f"{root(node)}/studies", data=sent, headers={"Content-Type": content_type}, timeout=30
            )
            statuses.add(answer.status_code)
            assert answer.status_code < 500 or answer.status_code == 503, (number, answer.text)
    assert {400, 409} <= statuses
    assert files(node) == before
    assert "Traceback" not in node.log()
    assert "Doe" not in node.log()
    assert good(node)


@pytest.mark.parametrize("path", PATHS)
def test_paths_lead_nowhere_else(node: NodeProcess, path: str) -> None:
    for text in TRAVERSALS:
        link = http.client.HTTPConnection("127.0.0.1", node.http_port, timeout=30)
        link.putrequest("GET", path.format(text), skip_accept_encoding=True)
        link.endheaders()
        answer = link.getresponse()
        content = answer.read()
        assert answer.status in (204, 400, 404, 405, 414, 431), (text, answer.status)
        assert b"root:" not in content
        assert answer.headers.get("X-Injected") is None
        link.close()


def raw(node: NodeProcess, request: bytes) -> bytes:
    """Return what is answered to bytes, "" where the connection is closed."""
    with socket.create_connection(("127.0.0.1", node.http_port), timeout=30) as link:
        link.sendall(request)
        link.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while piece := link.recv(65536):
                answer += piece
        except ConnectionError:
            pass
        return answer


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"Content-Length: x\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Content-Type: " + b"a" * 100_000 + b"\r\n",
        b"Host: evil.example\r\n",
        b"X: \xff\xfe\r\n",
        b"no colon\r\n",
    ],
)
def test_wrong_heads(node: NodeProcess, head: bytes) -> None:
    answer = raw(node, b"POST /dicomweb/studies HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\nhello")
    assert answer == b"" or answer.split()[1][:1] == b"4", answer[:100]
    assert "Traceback" not in node.log()


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8080", "", "[::1", "10.0.0.1"]
)
def test_another_host_is_not_answered(node: NodeProcess, host: str) -> None:
    """A page in a browser that has its own name point here (DNS rebinding) reads nothing."""
    answer = raw(node, f"GET /dicomweb/studies HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 400")


@contextmanager
def connected(node: NodeProcess, number: int, first: bytes) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        links = [stack.enter_context(socket.create_connection(("127.0.0.1", node.http_port))) for _ in range(number)]
        for link in links:
            link.sendall(first)
        yield links


@pytest.mark.parametrize("kind", ["silent", "half a head", "half a body"])
def test_slow_connections_keep_nobody_out(node: NodeProcess, kind: str) -> None:
    _, content_type = message([b""])
    head = f"POST /dicomweb/studies HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n".encode()
    first = {"silent": b"", "half a head": head, "half a body": head + b"Content-Length: 1000000\r\n\r\n--x"}[kind]
    before = rss_mb(node.pid)
    with connected(node, 200, first) as links:
        end = time.monotonic() + 60
        while not good(node):  # one that makes no progress makes room after two seconds
            assert time.monotonic() < end
        assert rss_mb(node.pid) - before < 50
        links[-1].settimeout(60)
        while links[-1].recv(65536):  # closed by the node, though nothing more is sent
            pass
    assert good(node)


def test_a_large_request_needs_little_memory(node: NodeProcess) -> None:
    one = make_series(1, study_uid=generate_uid(), **QUIET)[0]
    one.Rows = one.Columns = 1000
    one.PixelData = bytes(2_000_000)
    part = part10(one)
    head = b"--b\r\nContent-Type: application/dicom\r\n\r\n"

    def body() -> Iterator[bytes]:
        for _ in range(100):  # the same again and again: 200 MB
            yield head + part + b"\r\n"
        yield b"--b--\r\n"

    content_type = 'multipart/related; type="application/dicom"; boundary=b'
    assert good(node)
    before = rss_mb(node.pid)
    answer = requests.post(f"{root(node)}/studies", data=body(), headers={"Content-Type": content_type}, timeout=60)
    assert answer.status_code == 200
    assert rss_mb(node.pid) - before < 50

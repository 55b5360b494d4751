"""A DICOMweb server that answers by script: each step once, in order, then success. STOW-RS and QIDO-RS instances."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pydicom

from voxtell_dicom.config import Peer

JSON = "application/dicom+json"


@dataclass(frozen=True)
class Answer:
    """One answer to a STOW-RS request. `body` may be made from the UID that was sent."""

    status: int
    body: bytes | Callable[[str], bytes] = b""
    content_type: str = JSON


@dataclass(frozen=True)
class Posted:
    """What a request brought: its headers, its whole body's length, and the Part 10 file inside."""

    path: str
    headers: dict[str, str]
    length: int
    file: bytes
    status: int


def referenced(uid: str, warning: int | None = None) -> bytes:
    """A store response that names the instance as stored, perhaps with a Warning Reason."""
    item: dict[str, Any] = {"00081155": {"vr": "UI", "Value": [uid]}}
    if warning is not None:
        item["00081196"] = {"vr": "US", "Value": [warning]}
    return json.dumps({"00081199": {"vr": "SQ", "Value": [item]}}).encode()


def failed(uid: str, reason: int) -> bytes:
    """A store response that names the instance as failed."""
    item = {"00081155": {"vr": "UI", "Value": [uid]}, "00081197": {"vr": "US", "Value": [reason]}}
    return json.dumps({"00081198": {"vr": "SQ", "Value": [item]}}).encode()


class ScriptedStow:
    """A context manager. A step is an HTTP status, an Answer, or "drop" (the link is cut after the request is read).

    `qido` is the status of a look-up: 200 is answered from `holds`, a set of SOP Instance UIDs. `certificate`: a PEM
    file with key and certificate, for TLS. shown_after: look-ups that show nothing yet.
    """

    def __init__(
        self,
        steps: Sequence[int | Answer | str] = (),
        *,
        holds: Sequence[str] = (),
        qido: int = 200,
        shown_after: int = 0,
        certificate: Path | None = None,
    ) -> None:
        self.steps = list(steps)
        self.holds = set(holds)
        self.qido = qido
        self.shown_after = shown_after
        self.posted: list[Posted] = []
        self.lookups = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_POST(self) -> None:
                outer._post(self)

            def do_GET(self) -> None:
                outer._get(self)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "https" if certificate else "http"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}/dicom-web"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> ScriptedStow:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def peer(self, **more: Any) -> Peer:
        """This server as a peer of node.yaml."""
        return Peer(dicomweb=self.url, **{"timeout_s": 60, **more})

    def _post(self, request: BaseHTTPRequestHandler) -> None:
        body = _read_body(request)
        file = _part(request.headers["Content-Type"], body)
        uid = str(pydicom.dcmread(BytesIO(file), stop_before_pixels=True).SOPInstanceUID) if file else ""
        step = self.steps.pop(0) if self.steps else Answer(200, referenced)
        if isinstance(step, int):
            step = Answer(step)
        status = step.status if isinstance(step, Answer) else -1
        self.posted.append(Posted(request.path, dict(request.headers), len(body), file, status))
        if not isinstance(step, Answer):
            request.close_connection = True
            return
        text = step.body(uid) if callable(step.body) else step.body
        _reply(request, step.status, text, step.content_type)

    def _get(self, request: BaseHTTPRequestHandler) -> None:
        self.lookups += 1
        query = parse_qs(urlsplit(request.path).query)
        uid = (query.get("SOPInstanceUID") or query.get("00080018") or [""])[0]
        found = (
            [{"00080018": {"vr": "UI", "Value": [uid]}}]
            if uid in self.holds and self.lookups > self.shown_after
            else []
        )
        _reply(request, self.qido, json.dumps(found).encode() if self.qido == 200 else b"", JSON)


def _read_body(request: BaseHTTPRequestHandler) -> bytes:
    if "chunked" in request.headers.get("Transfer-Encoding", ""):
        body = b""
        while size := int(request.rfile.readline(), 16):
            body += request.rfile.read(size)
            request.rfile.readline()
        request.rfile.readline()
        return body
    return request.rfile.read(int(request.headers["Content-Length"]))


def _part(content_type: str, body: bytes) -> bytes:
    message = BytesParser().parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + b"")
    boundary = str(message.get_param("boundary"))
    head, _, rest = body.partition(b"\r\n\r\n")
    assert boundary.encode() in head
    return rest.rpartition(f"\r\n--{boundary}--".encode())[0]


def _reply(request: BaseHTTPRequestHandler, status: int, text: bytes, content_type: str) -> None:
    request.send_response(status)
    if text:
        request.send_header("Content-Type", content_type)
    request.send_header("Content-Length", str(len(text)))
    request.end_headers()
    request.wfile.write(text)

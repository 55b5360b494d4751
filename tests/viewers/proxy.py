"""One origin for a viewer and a PACS: the viewer's files at /, Orthanc's DICOMweb at /dicom-web.

What a site puts before OHIF is nginx; this does the same few things: the isolation headers that the viewer's
SharedArrayBuffer needs, the MIME type of WebAssembly, the viewer's page for its own routes, its configuration.
"""

from __future__ import annotations

import http.client
import json
import mimetypes
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType

ROOT = "/dicom-web"
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# Of a response that this server reads whole and sends on; the rest would lie about its length.
PASSED = ("Content-Type", "Cache-Control", "Content-Location", "Warning")
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm"}
CONFIG = {
    "routerBasename": "/",
    "extensions": [],
    "modes": [],
    "showStudyList": True,
    "maxNumberOfWebWorkers": 1,
    "showLoadingIndicator": True,
    "investigationalUseDialog": {"option": "never"},  # it lies over the picture
    "defaultDataSourceName": "orthanc",
    "dataSources": [
        {
            "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
            "sourceName": "orthanc",
            "configuration": {
                "friendlyName": "Orthanc",
                "name": "orthanc",
                "qidoRoot": ROOT,
                "wadoRoot": ROOT,
                "wadoUriRoot": "/wado",
                "imageRendering": "wadors",
                "thumbnailRendering": "wadors",
                "qidoSupportsIncludeField": False,
                "supportsWildcard": True,
                "enableStudyLazyLoad": True,
                "omitQuotationForMultipartRequest": True,
                "bulkDataURI": {"enabled": True},
            },
        }
    ],
}


class Site:
    """A context manager: the viewer in folder `dist`, and what answers HTTP on `pacs_port`, under `url`.

    pacs_root: of DICOMweb at the PACS.
    """

    def __init__(self, dist: Path, pacs_port: int, pacs_root: str = ROOT) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.dist = dist
        self._server.pacs_port, self._server.pacs_root = pacs_port, pacs_root
        self._thread = threading.Thread(target=self._server.serve_forever, name="viewer-site", daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Site:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    dist: Path
    pacs_port: int
    pacs_root: str


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith(ROOT + "/"):
            self._forward()
        elif path == "/app-config.js":
            self._answer(200, f"window.config = {json.dumps(CONFIG)};".encode(), {"Content-Type": TYPES[".js"]})
        else:
            self._file(path)

    def do_POST(self) -> None:
        self._forward()

    def _file(self, path: str) -> None:
        dist = self.server.dist.resolve()
        file = (dist / path.lstrip("/")).resolve()
        if not file.is_relative_to(dist) or not file.is_file():
            if file.suffix:
                self._answer(404, b"", {})
                return
            file = dist / "index.html"
        kind = TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        self._answer(200, file.read_bytes(), {"Content-Type": kind})

    def _forward(self) -> None:
        """Hand the request to the PACS. It sees the browser's Host, so that the URLs it makes stay on this origin."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        wanted = {name: self.headers[name] for name in ("Accept", "Content-Type", "Host") if self.headers[name]}
        pacs = http.client.HTTPConnection("127.0.0.1", self.server.pacs_port, timeout=30)
        try:
            path = self.server.pacs_root + self.path.removeprefix(ROOT)
            pacs.request(self.command, path, body or None, wanted)
            response = pacs.getresponse()
            content = response.read()
        finally:
            pacs.close()
        self._answer(response.status, content, {name: response.headers[name] for name in PASSED})

    def _answer(self, status: int, content: bytes, headers: dict[str, str | None]) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, **headers}.items():
            if value is not None:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        try:
            self.wfile.write(content)
        except (BrokenPipeError, ConnectionResetError):  # the browser no longer wants it
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: a test's output is for what failed."""

"""Around all requests: which Host is answered, how slowly an answer may be read, and what an error becomes."""

from __future__ import annotations

import asyncio
import json
import traceback
from urllib.parse import urlsplit

import sqlalchemy as sa
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from voxtell_dicom.config.settings import is_loopback
from voxtell_dicom.errors import VoxtellDicomError
from voxtell_dicom.web.store_report import RETRY_AFTER_S

HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)

log = structlog.get_logger(__name__)


class Limits:
    """ASGI middleware. send_s: seconds for each piece of an answer to be taken. public_root: see `Http`.

    Only requests to a loopback name or to the host of `public_root` are answered: a page in a browser that lets its own
    name point to this machine (DNS rebinding) reads nothing.
    """

    def __init__(self, app: ASGIApp, *, send_s: float, public_root: str | None) -> None:
        self._app, self._send_s = app, send_s
        self._public = (urlsplit(public_root).hostname or "") if public_root else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def timed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
            async with asyncio.timeout(self._send_s):
                await send(message)

        if not self._is_for_us(scope):
            await _answer(timed, 400, "the Host of the request is none of this node's (node.http.public_root)")
            return
        try:
            await self._app(scope, receive, timed)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            status, what = _described(error, scope)
            if started:  # the answer is cut off, so that nobody takes it for whole
                raise Broken from None
            await _answer(timed, status, what)

    def _is_for_us(self, scope: Scope) -> bool:
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1:
            return False
        try:
            name = urlsplit(f"//{hosts[0]}").hostname or ""
        except ValueError:
            return False
        return is_loopback(name) or (bool(self._public) and name == self._public)


class Broken(Exception):
    """An answer that had begun could not be brought to its end; the connection is closed."""


def _described(error: Exception, scope: Scope) -> tuple[int, str]:
    """Log an error that nobody expected, without its text, which may quote values. Returns status and words."""
    if isinstance(error, TimeoutError):
        log.warning("answer not taken in time", method=scope["method"])
        return 503, "the answer was not taken in time"
    if isinstance(error, sa.exc.SQLAlchemyError):
        log.warning("request failed, the database does not answer", error=type(error).__name__)
        return 503, "the database does not answer"
    if isinstance(error, VoxtellDicomError):
        log.warning("request failed", code=error.code)
        return 503, "the archive does not answer"
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{place.filename.rpartition('/')[2]}:{place.lineno}"
    log.error("request failed", error=type(error).__name__, where=where, method=scope["method"])
    return 500, "internal error, see the log of the node"


async def _answer(send: Send, status: int, what: str) -> None:
    body = json.dumps({"detail": what}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 503:
        headers.append((b"retry-after", str(RETRY_AFTER_S).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

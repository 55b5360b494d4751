"""Around all requests: which Host is answered, how slowly an answer may be read, and what an error becomes."""

from __future__ import annotations

import asyncio
import traceback
from urllib.parse import urlsplit

import sqlalchemy as sa
import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse
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
        ended = False

        async def timed(message: Message) -> None:
            nonlocal ended
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
            async with asyncio.timeout(self._send_s):
                await send(message)
            ended = message["type"] == "http.response.body" and not message.get("more_body")

        if not self._is_for_us(scope):
            await answer_of(400, "the Host of the request is none of this node's (node.http.public_root)")(
                scope, receive, timed
            )
            return
        try:
            await self._app(scope, receive, timed)
        except Exception as error:
            if not ended:  # it is cut off, so that nobody takes it for whole
                log.warning("answer cut off", error=type(error).__name__, method=scope["method"])
                raise Broken from None

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


def answer_to_error(request: Request, error: Exception) -> JSONResponse:
    """Return the answer to an error that no route expects, and log it without its text, which may quote values."""
    if isinstance(error, sa.exc.SQLAlchemyError):
        log.warning("request failed, the database does not answer", error=type(error).__name__)
        return answer_of(503, "the database does not answer")
    if isinstance(error, VoxtellDicomError):
        log.warning("request failed", code=error.code)
        return answer_of(503, "the archive does not answer")
    if isinstance(error, FileNotFoundError):
        return answer_of(404, "the instance is no longer here")
    if isinstance(error, OSError):
        log.warning("request failed, the storage does not answer", error=error.strerror)
        return answer_of(503, "the storage does not answer")
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{place.filename.rpartition('/')[2]}:{place.lineno}"
    log.error("request failed", error=type(error).__name__, where=where, method=request.method)
    return answer_of(500, "internal error, see the log of the node")


def answer_of(status: int, what: str) -> JSONResponse:
    """Return an answer without anything but words."""
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else {}
    return JSONResponse({"detail": what}, status, headers)

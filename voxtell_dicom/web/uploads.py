"""Limits of requests with large bodies: their number at once, and the slowest rate of their bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from fastapi import HTTPException, Request

from voxtell_dicom.config import Bounds
from voxtell_dicom.web.store_report import RETRY_AFTER_S

_STEP = 1 << 16  # bytes that have to come within the time
_MAKES_ROOM_S = 2.0  # without a step; then an upload is ended for a new one where there is no other room


class Upload:
    """One request body: read with a time limit, which begins anew with each 64 KiB."""

    def __init__(self, request: Request, bounds: Bounds) -> None:
        self._request, self._seconds = request, bounds.pdu_s
        self._loop = asyncio.get_running_loop()
        self.progress_at = self._loop.time()
        self._clock: asyncio.Timeout | None = None
        self._waits = False

    def end(self) -> None:
        """Have the reader get TimeoutError now."""
        if self._clock is not None and self._waits:
            self._clock.reschedule(self._loop.time())

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes. Raises TimeoutError, ClientDisconnect.

        What the reader does between two pieces takes none of the time.
        """
        stream, since, left = self._request.stream(), 0, self._seconds
        while True:
            started = self._loop.time()
            async with asyncio.timeout(left) as self._clock:
                self._waits = True
                try:
                    piece = await anext(stream, None)
                finally:
                    self._waits = False
            if piece is None:
                return
            since += len(piece)
            left -= self._loop.time() - started
            if since >= _STEP:
                since, left = 0, self._seconds
            yield piece
            if since == 0:
                self.progress_at = self._loop.time()


class Uploads:
    """The request bodies that are being read. limit: how many at once."""

    def __init__(self, bounds: Bounds, limit: int) -> None:
        self._bounds, self._limit = bounds, limit
        self._open: set[Upload] = set()

    @contextmanager
    def enter(self, request: Request) -> Iterator[Upload]:
        """Yield an upload that counts until its end. Raises HTTPException (503) where there is no room.

        A slow one makes room for a new one, so that slow senders keep nobody out.
        """
        upload = Upload(request, self._bounds)
        if len(self._open) >= self._limit:
            slowest = min(self._open, key=lambda one: one.progress_at)
            if upload.progress_at - slowest.progress_at < _MAKES_ROOM_S:
                raise HTTPException(503, "too many requests at once", {"Retry-After": str(RETRY_AFTER_S)})
            self._open.discard(slowest)
            slowest.end()
        self._open.add(upload)
        try:
            yield upload
        finally:
            self._open.discard(upload)

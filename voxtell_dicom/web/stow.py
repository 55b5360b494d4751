"""STOW-RS (PS3.18 section 10.5): instances from a multipart/related request into the archive, as by C-STORE.

A request is like an association: what it brings holds its series until it ends, and where it is cut off the series is
known to be incomplete.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass

import structlog
from fastapi import APIRouter, HTTPException, Request, Response
from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from voxtell_dicom.archive.instance import Sender
from voxtell_dicom.errors import Refusal, SpoolUnavailable
from voxtell_dicom.receive.intake import OUT_OF_RESOURCES, PROCESSING_FAILURE, STATUS, TRANSFER_SYNTAXES, Intake
from voxtell_dicom.web.media import DICOM, JSON, MULTIPART, XML, json_or_xml
from voxtell_dicom.web.native_xml import xml_of
from voxtell_dicom.web.part10 import FileMeta, NoPart10, read_file_meta
from voxtell_dicom.web.parts import MalformedMessage, PartReader, ReceivedPart
from voxtell_dicom.web.services import Services
from voxtell_dicom.web.store_report import (
    RETRY_AFTER_S,
    SYNTAX_NOT_SUPPORTED,
    FailedInstance,
    StoredInstance,
    StoreReport,
)
from voxtell_dicom.web.uids import PathUid
from voxtell_dicom.web.uploads import Upload, Uploads

_MIB = 1 << 20
_UNREAD = 16 * _MIB  # of a refused request: read and dropped, so that its sender sees the answer

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Storing:
    """Where the parts of one request go. study_uid: of the path, "" where it has none."""

    intake: Intake
    sender: Sender
    study_uid: str
    report: StoreReport

    def take(self, part: ReceivedPart) -> None:
        """Store one part, and add to the report what became of it."""
        try:
            meta = read_file_meta(part.content)
        except NoPart10 as error:
            reason = STATUS["too-large"] if part.truncated else STATUS["unreadable"]
            log.warning("instance refused", code="unreadable", reason=str(error), address=self.sender.address)
            self.report.failed.append(FailedInstance("", "", reason))
            return
        try:
            self._store(part, meta)
        except Refusal as refusal:
            self._failed(meta, STATUS[refusal.code], refusal.code, refusal)
        except SpoolUnavailable as error:
            self._failed(meta, OUT_OF_RESOURCES, error.code, error)
        except Exception as error:
            log.exception("instance not stored", sop_instance_uid=meta.sop_instance_uid)
            self._failed(meta, PROCESSING_FAILURE, "error", error)

    def _store(self, part: ReceivedPart, meta: FileMeta) -> None:
        uid = meta.sop_instance_uid
        if part.truncated:
            raise Refusal("too-large", "the instance is larger than receive.bounds.dataset_mb", uid=uid)
        if meta.transfer_syntax_uid not in TRANSFER_SYNTAXES:
            log.warning("instance refused", reason=f"transfer syntax {meta.transfer_syntax_uid}", sop_instance_uid=uid)
            self.report.failed.append(FailedInstance(meta.sop_class_uid, uid, SYNTAX_NOT_SUPPORTED))
            return
        data = bytes(memoryview(part.content)[meta.dataset_at :])
        part.content = bytearray()
        arrival = self.intake.read(data, meta.transfer_syntax_uid, meta.sop_class_uid, uid)
        if self.study_uid not in ("", arrival.study_uid):
            what = f"Study Instance UID (0020,000D) is {arrival.study_uid}, the request says {self.study_uid}"
            raise Refusal("sop-mismatch", what, uid=uid)
        self.intake.store(arrival, self.sender)
        self.report.stored.append(
            StoredInstance(arrival.sop_class_uid, arrival.sop_instance_uid, arrival.study_uid, arrival.series_uid)
        )

    def _failed(self, meta: FileMeta, reason: int, code: str, error: Exception) -> None:
        log.warning("instance refused", code=code, reason=str(error), sop_instance_uid=meta.sop_instance_uid)
        self.report.failed.append(FailedInstance(meta.sop_class_uid, meta.sop_instance_uid, reason))


def router(services: Services) -> APIRouter:
    """Return the routes of STOW-RS."""
    routes = APIRouter(tags=["STOW-RS"])
    receive = services.config.receive
    uploads = Uploads(receive.bounds, receive.max_associations)
    intake = Intake(services.archive, services.completion, receive.bounds)
    largest = receive.bounds.dataset_mb * _MIB + _MIB

    @routes.post("/studies", operation_id="storeInstances")
    async def store(request: Request) -> Response:
        return await store_in_study(request, "")

    @routes.post("/studies/{study_uid}", operation_id="storeInstancesInStudy")
    async def store_in(request: Request, study_uid: PathUid) -> Response:
        return await store_in_study(request, study_uid)

    async def store_in_study(request: Request, study_uid: str) -> Response:
        with uploads.enter(request) as upload:
            try:
                form = json_or_xml(request)
                reader = PartReader(_boundary(request), largest)
            except MalformedMessage as error:
                await _drop(upload)
                raise HTTPException(400, f"the message cannot be read: {error}") from error
            except HTTPException:
                await _drop(upload)
                raise
            sender = Sender(uuid.uuid4().hex, "", "", _address(request), services.archive.now())
            storing = Storing(intake, sender, study_uid, StoreReport())
            try:
                problem = await _read(upload, reader, storing)
            except (TimeoutError, ClientDisconnect) as error:
                reason = "the sender was too slow" if isinstance(error, TimeoutError) else "the sender broke off"
                log.warning("store request lost", address=sender.address, reason=reason)
                await run_in_threadpool(services.completion.ended, sender, released=False)
                raise HTTPException(408, reason, {"Connection": "close"}) from error
            except BaseException:  # the node stops: nothing can be awaited any more
                services.completion.ended(sender, released=False)
                raise
            await run_in_threadpool(services.completion.ended, sender, released=not problem)
        report = storing.report
        if problem:
            count = len(report.stored)
            raise HTTPException(400, f"the message cannot be read: {problem}; {count} instances before that are stored")
        if not report.stored and not report.failed:
            raise HTTPException(400, "the message has no parts")
        return _answer(report, form, services.dicomweb, study_uid)

    return routes


async def _read(upload: Upload, reader: PartReader, storing: Storing) -> str:
    """Store the parts as they come. Returns what is wrong with the message, "" where nothing is."""
    problem = ""
    async for piece in upload.pieces():
        if problem:
            continue  # the rest is read, so that the sender sees the answer
        try:
            parts = reader.feed(piece)
        except MalformedMessage as error:
            problem = str(error)
            continue
        for part in parts:
            await run_in_threadpool(storing.take, part)
    return problem or ("" if reader.finished else "its last boundary is missing")


def _boundary(request: Request) -> str:
    """Return the boundary of a multipart/related message of instances. Raises HTTPException (415), MalformedMessage."""
    main, options = parse_options_header(request.headers.get("content-type", ""))
    type_ = options.get(b"type", DICOM.encode()).decode("latin-1").lower()
    if main.decode("latin-1").lower() != MULTIPART or type_ != DICOM:
        raise HTTPException(415, f'the Content-Type must be {MULTIPART}; type="{DICOM}"')
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise HTTPException(415, "a Content-Encoding is not supported")
    return options.get(b"boundary", b"").decode("latin-1")


async def _drop(upload: Upload) -> None:
    """Read and drop a body of moderate size: closing the connection at once could lose the answer."""
    size = 0
    try:
        async for piece in upload.pieces():
            size += len(piece)
            if size > _UNREAD:
                return
    except (TimeoutError, ClientDisconnect):
        return


def _address(request: Request) -> str:
    return f"{request.client.host}:{request.client.port}" if request.client else ""


def _answer(report: StoreReport, form: str, dicomweb: str, study_uid: str) -> Response:
    content = report.json(dicomweb, study_uid)
    body = xml_of(content) if form == XML else json.dumps(content).encode()
    headers = {"Retry-After": str(RETRY_AFTER_S)} if report.status == 503 else {}
    return Response(body, report.status, headers, media_type=XML if form == XML else JSON)

"""STOW-RS (PS3.18 section 10.5): instances from a multipart/related request into the archive, as by C-STORE.

A request is like an association: what it brings holds its series until it ends, and where it is cut off the series is
known to be incomplete.
"""

from __future__ import annotations

import json
import uuid

import structlog
from fastapi import APIRouter, HTTPException, Request, Response
from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from voxtell_dicom.archive.instance import Sender
from voxtell_dicom.receive.intake import Intake
from voxtell_dicom.web.media import DICOM, JSON, MULTIPART, XML, json_or_xml
from voxtell_dicom.web.native_xml import xml_of
from voxtell_dicom.web.parts import MalformedMessage, PartReader
from voxtell_dicom.web.services import Services
from voxtell_dicom.web.store_report import RETRY_AFTER_S, StoreReport
from voxtell_dicom.web.storing import PartStore, Storing
from voxtell_dicom.web.uids import PathUid
from voxtell_dicom.web.uploads import Upload, Uploads

_MIB = 1 << 20
_UNREAD = 16 * _MIB  # of a refused request: read and dropped, so that its sender sees the answer

log = structlog.get_logger(__name__)


def router(services: Services) -> APIRouter:
    """Return the routes of STOW-RS."""
    routes = APIRouter(tags=["STOW-RS"])
    receive = services.config.receive
    uploads = Uploads(receive.bounds, receive.max_associations)
    intake = Intake(services.archive, services.completion, receive.bounds)
    largest = receive.bounds.dataset_mb * _MIB + _MIB

    @routes.post("/studies", operation_id="storeInstances")
    async def store_anywhere(request: Request) -> Response:
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
            store = PartStore(Storing(intake, sender, study_uid))
            problem, lost = "", ""
            try:
                problem = await _read(upload, reader, store)
            except TimeoutError:
                lost = "the sender was too slow"
            except ClientDisconnect:
                lost = "the sender broke off"
            except BaseException:  # the node stops: nothing can be awaited any more
                services.completion.ended(sender, released=False)
                raise
            report = await store.report()
            await run_in_threadpool(services.completion.ended, sender, released=not (problem or lost))
        if lost:
            log.warning("store request lost", address=sender.address, reason=lost)
            raise HTTPException(408, lost, {"Connection": "close"})
        if problem:
            count = len(report.stored)
            raise HTTPException(400, f"the message cannot be read: {problem}; {count} instances before that are stored")
        if not report.stored and not report.failed:
            raise HTTPException(400, "the message has no parts")
        return _answer(report, form, services.dicomweb, study_uid)

    return routes


async def _read(upload: Upload, reader: PartReader, store: PartStore) -> str:
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
            await store.add(part)
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

"""WADO-RS (PS3.18 section 10.4): studies, series and instances as they came, or in Explicit VR Little Endian."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, groupby

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import StreamingResponse
from pydicom.uid import ExplicitVRLittleEndian

from voxtell_dicom.dicom.json_model import Json
from voxtell_dicom.web.explicit import can_be_explicit, explicit_file, stored_file
from voxtell_dicom.web.holdings import Holding, Holdings
from voxtell_dicom.web.media import DICOM, JSON, XML, Accepted, Part, accepted, json_or_xml, multipart, not_acceptable
from voxtell_dicom.web.metadata import MetadataCache
from voxtell_dicom.web.native_xml import xml_of
from voxtell_dicom.web.uids import PathUid

Writer = Callable[[Holding], Iterator[bytes]]


def router(holdings: Holdings, metadata: MetadataCache) -> APIRouter:
    """Return the routes that give whole instances and metadata."""
    routes = APIRouter(tags=["WADO-RS"])

    @routes.get("/studies/{study_uid}", operation_id="retrieveStudy")
    def study(request: Request, study_uid: PathUid) -> Response:
        return _files(request, holdings.require(study_uid))

    @routes.get("/studies/{study_uid}/series/{series_uid}", operation_id="retrieveSeries")
    def series(request: Request, study_uid: PathUid, series_uid: PathUid) -> Response:
        return _files(request, holdings.require(study_uid, series_uid))

    @routes.get("/studies/{study_uid}/series/{series_uid}/instances/{sop_uid}", operation_id="retrieveInstance")
    def instance(request: Request, study_uid: PathUid, series_uid: PathUid, sop_uid: PathUid) -> Response:
        return _files(request, holdings.require(study_uid, series_uid, sop_uid), single=True)

    @routes.get("/studies/{study_uid}/metadata", operation_id="retrieveStudyMetadata")
    def study_metadata(request: Request, study_uid: PathUid) -> Response:
        found: list[Json] = []
        for _, some in groupby(holdings.require(study_uid), key=lambda one: one.series_uid):
            found += metadata.of_series(list(some))
        return models(request, found)

    @routes.get("/studies/{study_uid}/series/{series_uid}/metadata", operation_id="retrieveSeriesMetadata")
    def series_metadata(request: Request, study_uid: PathUid, series_uid: PathUid) -> Response:
        packed = metadata.deflated(holdings.require(study_uid, series_uid))
        if json_or_xml(request) == XML:
            return models(request, json.loads(gzip.decompress(packed)))
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(packed, media_type=JSON, headers={"Content-Encoding": "gzip", "Vary": "Accept-Encoding"})
        return Response(gzip.decompress(packed), media_type=JSON)

    @routes.get(
        "/studies/{study_uid}/series/{series_uid}/instances/{sop_uid}/metadata", operation_id="retrieveInstanceMetadata"
    )
    def instance_metadata(request: Request, study_uid: PathUid, series_uid: PathUid, sop_uid: PathUid) -> Response:
        whole = holdings.require(study_uid, series_uid)
        place = next((number for number, one in enumerate(whole) if one.sop_uid == sop_uid), None)
        if place is None:
            raise HTTPException(404, "there is no such instance here")
        return models(request, [metadata.of_series(whole)[place]])

    return routes


def models(request: Request, datasets: Sequence[Json]) -> Response:
    """Return datasets in the model that a request wants: an array of JSON, or one part of XML for each."""
    if json_or_xml(request) == XML:
        return multipart((Part(XML, iter((xml_of(dataset),))) for dataset in datasets), XML)
    return Response(json.dumps(datasets, separators=(",", ":")), media_type=JSON)


def _files(request: Request, found: Sequence[Holding], *, single: bool = False) -> Response:
    """Return instances in the form that a request prefers. Raises HTTPException (406)."""
    for entry in accepted(request):
        if not entry.takes(DICOM):
            continue
        if not entry.multipart and entry.type != "*/*" and not single:
            continue
        writer = _writer(entry, found)
        if writer is None:
            continue
        first = _begun(writer(found[0]))
        if single and not entry.multipart and entry.type != "*/*":
            kind = f"{DICOM};transfer-syntax={_syntax(writer, found[0])}"
            return StreamingResponse(first, headers={"Content-Type": kind})
        contents = chain((first,), map(writer, found[1:]))
        kinds = (f"{DICOM};transfer-syntax={_syntax(writer, one)}" for one in found)
        return multipart(map(Part, kinds, contents), DICOM)
    syntaxes = sorted({str(one.transfer_syntax) for one in found})
    raise not_acceptable(f'multipart/related; type="{DICOM}" in the stored transfer syntax ({", ".join(syntaxes)})')


def _begun(content: Iterator[bytes]) -> Iterator[bytes]:
    """Return a content whose first piece has been made: what cannot be made at all is answered as such."""
    try:
        first = next(content)
    except OSError:
        raise
    except Exception as error:  # whatever a decoder raises
        why = f"its pixels cannot be decoded ({type(error).__name__})"
        what = f"the stored transfer syntax alone (transfer-syntax=*): {why}"
        raise not_acceptable(what) from error
    return chain((first,), content)


def _writer(entry: Accepted, found: Sequence[Holding]) -> Writer | None:
    """Return how all instances can be given as an entry of Accept wants it; None where one cannot.

    Where it names no transfer syntax, Explicit VR Little Endian is the default of application/dicom (PS3.18 section
    8.7.3.5.2); */* asks for nothing, and gets what is stored.
    """
    if entry.syntax == "*" or entry.type == "*/*" or all(str(one.transfer_syntax) == entry.syntax for one in found):
        return stored_file
    if entry.syntax in ("", ExplicitVRLittleEndian) and all(can_be_explicit(one.transfer_syntax) for one in found):
        return explicit_file
    return None


def _syntax(writer: Writer, one: Holding) -> str:
    return str(one.transfer_syntax if writer is stored_file else ExplicitVRLittleEndian)

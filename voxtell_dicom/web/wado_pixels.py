"""WADO-RS of what is in an instance: frames, bulk data, rendered images (PS3.18 section 10.4.1.1.2 ff.)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pydicom
from fastapi import APIRouter, HTTPException, Request, Response
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from voxtell_dicom.dicom.json_model import little_endian
from voxtell_dicom.web.holdings import Holdings
from voxtell_dicom.web.media import OCTETS, Accepted, Part, accepted, multipart, not_acceptable
from voxtell_dicom.web.pixels import Image, NoPixels, frame_numbers, media_type, word_of
from voxtell_dicom.web.rendered import FORMATS, Look, look_of, rendered
from voxtell_dicom.web.uids import PathUid

_INSTANCE = "/studies/{study_uid}/series/{series_uid}/instances/{sop_uid}"
_PIXEL_KEYS = ("7FE00008", "7FE00009", "7FE00010")


def router(holdings: Holdings) -> APIRouter:
    """Return the routes that give parts of an instance."""
    routes = APIRouter(tags=["WADO-RS"])

    def opened(study_uid: str, series_uid: str, sop_uid: str) -> Image:
        return Image.open(holdings.require(study_uid, series_uid, sop_uid)[0].path)

    @routes.get(_INSTANCE + "/frames/{frames}", operation_id="retrieveFrames")
    def frames(request: Request, study_uid: PathUid, series_uid: PathUid, sop_uid: PathUid, frames: str) -> Response:
        image = opened(study_uid, series_uid, sop_uid)
        return _frames(request, image, _numbers(frames))

    @routes.get(_INSTANCE + "/bulkdata/{path:path}", operation_id="retrieveBulkdata")
    def bulkdata(request: Request, study_uid: PathUid, series_uid: PathUid, sop_uid: PathUid, path: str) -> Response:
        image = opened(study_uid, series_uid, sop_uid)
        if path.upper() in _PIXEL_KEYS:
            if image.syntax.is_encapsulated:
                return _frames(request, image, list(range(1, image.frames + 1)))
            return _octets(request, _or_404(image.pixel_value))
        return _octets(request, _value(image, path.upper()))

    @routes.get(_INSTANCE + "/rendered", operation_id="retrieveRenderedInstance")
    def instance_rendered(request: Request, study_uid: PathUid, series_uid: PathUid, sop_uid: PathUid) -> Response:
        return _picture(request, opened(study_uid, series_uid, sop_uid), 1)

    @routes.get(_INSTANCE + "/frames/{frames}/rendered", operation_id="retrieveRenderedFrames")
    def frame_rendered(
        request: Request, study_uid: PathUid, series_uid: PathUid, sop_uid: PathUid, frames: str
    ) -> Response:
        numbers = _numbers(frames)
        if len(numbers) != 1:
            raise HTTPException(400, "one frame is rendered at a time")
        return _picture(request, opened(study_uid, series_uid, sop_uid), numbers[0])

    return routes


def _numbers(text: str) -> list[int]:
    try:
        return list(frame_numbers(text))
    except ValueError as error:
        raise HTTPException(400, str(error)) from error


def _or_404(read: Callable[[], bytes]) -> bytes:
    try:
        return read()
    except NoPixels as error:
        raise HTTPException(404, str(error)) from error


def _frames(request: Request, image: Image, numbers: list[int]) -> Response:
    """Return frames as stored where the request takes that, else decoded. Raises HTTPException (404, 406)."""
    form = next(filter(None, (_frame_form(entry, image) for entry in accepted(request))), None)
    if form is None:
        stored = f"{media_type(image.syntax)} in {image.syntax}"
        raise not_acceptable(f'multipart/related; type="{OCTETS}" in Explicit VR Little Endian, or {stored}')
    read, kind, syntax = form
    label = f"{kind};transfer-syntax={syntax}"
    first = _or_404(lambda: read(numbers[0]))  # what cannot be read at all is answered as such
    if len(numbers) == 1:
        return multipart(iter((Part(label, iter((first,))),)), kind)
    for number in numbers:
        if not 1 <= number <= image.frames:
            raise HTTPException(404, f"there is no frame {number}")

    def parts() -> Iterator[Part]:
        yield Part(label, iter((first,)))
        for number in numbers[1:]:
            yield Part(label, iter((read(number),)))

    return multipart(parts(), kind)


FrameForm = tuple[Callable[[int], bytes], str, str]


def _frame_form(entry: Accepted, image: Image) -> FrameForm | None:
    """Return how frames are given as an entry of Accept wants it: function, media type, transfer syntax."""
    compressed = image.syntax.is_encapsulated
    stored = str(image.syntax if compressed else ExplicitVRLittleEndian)
    kind = media_type(image.syntax)
    if entry.type == "*/*" or entry.type == kind:
        if entry.syntax in ("", "*", stored):
            return image.stored_frame, kind, stored
    elif entry.type == OCTETS and entry.syntax in ("*", stored):
        return image.stored_frame, OCTETS, stored
    if entry.takes(OCTETS) and entry.syntax in ("", ExplicitVRLittleEndian):
        return image.plain_frame, OCTETS, str(ExplicitVRLittleEndian)
    return None


def _octets(request: Request, content: bytes) -> Response:
    for entry in accepted(request):
        if entry.takes(OCTETS):
            if entry.multipart or entry.type == "*/*":
                return multipart(iter((Part(OCTETS, iter((content,))),)), OCTETS)
            return Response(content, media_type=OCTETS)
    raise not_acceptable(OCTETS)


def _value(image: Image, path: str) -> bytes:
    """Return the value of a binary element by its path, as "52009229/1/00289145". Raises HTTPException (404)."""
    steps = path.split("/")
    ds: Dataset = pydicom.dcmread(image.path, stop_before_pixels=True)
    try:
        for tag, number in zip(steps[:-1:2], steps[1::2], strict=True):
            ds = ds[int(tag, 16)].value[int(number) - 1]
        element = ds[int(steps[-1], 16)]
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, OverflowError):
        raise HTTPException(404, "there is no such element") from None
    if not isinstance(element.value, bytes):
        raise HTTPException(404, "the element is not binary: it stands in the metadata")
    return little_endian(element.value, word_of(element, ds), little=image.syntax != ExplicitVRBigEndian)


def _picture(request: Request, image: Image, number: int) -> Response:
    kind = next(
        (kind for entry in accepted(request) for kind in FORMATS if not entry.multipart and entry.takes(kind)), None
    )
    if kind is None:
        raise not_acceptable(" and ".join(FORMATS))
    try:
        look: Look = look_of(request.query_params)
    except ValueError as error:
        raise HTTPException(400, str(error)) from error
    return Response(_or_404(lambda: rendered(image, number, kind, look)), media_type=kind)

"""QIDO-RS (PS3.18 section 10.6): studies, series and instances over the index, results among them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal

from fastapi import APIRouter, HTTPException, Request, Response
from pydicom.datadict import dictionary_VR, tag_for_keyword

from voxtell_dicom.archive.catalogue import SERIES_KEYWORDS, STUDY_KEYWORDS, TAGS, Catalogue, SeriesEntry
from voxtell_dicom.dicom.json_model import Json, json_of
from voxtell_dicom.web.holdings import Holding, Holdings
from voxtell_dicom.web.media import JSON, XML, Part, json_or_xml, multipart
from voxtell_dicom.web.metadata import MetadataCache
from voxtell_dicom.web.native_xml import xml_of
from voxtell_dicom.web.pixels import Image
from voxtell_dicom.web.query import Query, Wanted, parse
from voxtell_dicom.web.services import Services
from voxtell_dicom.web.uids import PathUid

_MOST_RESULTS: Final = 5000  # whose attributes stay in memory
FUZZY: Final = "The fuzzymatching parameter is not supported. Only literal matching has been performed."
MORE: Final = "There are additional results that can be requested."


def _tags(*keywords: str) -> dict[str, str]:
    """Return tag → VR of keywords."""
    found = {}
    for keyword in keywords:
        tag = int(tag_for_keyword(keyword) or 0)
        found[f"{tag:08X}"] = dictionary_VR(tag)
    return found


# Answered always, empty where there is no value (PS3.18 tables 10.6.3-3, 10.6.3-4, 10.6.3-5).
STUDY: Final = _tags(
    "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "PatientName", "PatientID",
    "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyID", "StudyDescription",
)  # fmt: skip
SERIES: Final = _tags("Modality", "SeriesDescription", "SeriesInstanceUID", "SeriesNumber")
INSTANCE: Final = _tags("SOPClassUID", "SOPInstanceUID", "InstanceNumber")
# Answered where the series or instance has them.
OPTIONAL: Final = frozenset(
    _tags(
        "SpecificCharacterSet", "TimezoneOffsetFromUTC", "PerformedProcedureStepStartDate",
        "PerformedProcedureStepStartTime", "RequestAttributesSequence", "Rows", "Columns", "BitsAllocated",
        "NumberOfFrames",
    )
)  # fmt: skip
_STUDY_UID, _SERIES_UID, _SOP_UID = "0020000D", "0020000E", "00080018"
_MODALITIES, _SOP_CLASSES, _MODALITY = "00080061", "00080062", "00080060"
_AVAILABILITY, _URL = "00080056", "00081190"
_STUDY_SERIES, _STUDY_INSTANCES, _SERIES_INSTANCES = "00201206", "00201208", "00201209"
STUDY_LEVEL: Final = frozenset(_tags(*STUDY_KEYWORDS)) | {_MODALITIES, _SOP_CLASSES}
SERIES_LEVEL: Final = frozenset(_tags(*SERIES_KEYWORDS))


@dataclass(frozen=True)
class Searched:
    """A series as queries see it. result: it is one of ours, and these are its instances."""

    entry: SeriesEntry
    result: tuple[Holding, ...] = ()


class Search:
    """Answers queries. Every method may be called from any thread."""

    def __init__(self, services: Services, holdings: Holdings, metadata: MetadataCache) -> None:
        self._catalogue = Catalogue(services.engine, services.archive.objects)
        self._holdings, self._metadata, self._dicomweb = holdings, metadata, services.dicomweb
        self._result_attributes: dict[str, Json] = {}

    def studies(self, query: Query) -> Iterator[Json]:
        """Yield the studies that match, the newest first."""
        by_study: dict[str, list[Searched]] = {}
        for one in self._series(query):
            by_study.setdefault(one.entry.study_uid, []).append(one)
        found = []
        for uid, series in by_study.items():
            study = self._study(uid, series)
            if all(self._study_holds(study, series, one) for one in query.wanted):
                found.append(study)
        for study in sorted(found, key=_newest_first, reverse=True):
            uid = study[_STUDY_UID]["Value"][0]
            series = by_study[uid]
            counts = self._catalogue.counts(one.entry.series_uid for one in series if not one.result)
            instances = sum(count.instances for count in counts.values()) + sum(len(one.result) for one in series)
            classes = {name for count in counts.values() for name in count.sop_classes}
            classes |= {one.sop_class for each in series for one in each.result}
            study[_SOP_CLASSES] = {"vr": "UI", "Value": sorted(classes)}
            study[_STUDY_INSTANCES] = {"vr": "IS", "Value": [instances]}
            if all(one.holds(study) for one in query.wanted if one.tag == _SOP_CLASSES):
                yield _answered(study, STUDY, query, {_MODALITIES, _STUDY_SERIES, _STUDY_INSTANCES})

    @staticmethod
    def _study_holds(study: Json, series: Sequence[Searched], one: Wanted) -> bool:
        if one.tag == _SOP_CLASSES:
            return True  # known only once it is counted
        if one.tag in STUDY_LEVEL:
            return one.holds(study)
        if one.tag in SERIES_LEVEL:
            return any(one.holds(each.entry.attributes) for each in series)
        raise _not_queried(one.tag, "studies")

    def _study(self, uid: str, series: Sequence[Searched]) -> Json:
        """Return the attributes of a study: those of the series with the newest instances."""
        received = [one for one in series if not one.result] or series
        study = {tag: value for tag, value in received[-1].entry.attributes.items() if tag in STUDY_LEVEL}
        study[_STUDY_UID] = {"vr": "UI", "Value": [uid]}
        modalities = {text for one in series for text in one.entry.attributes.get(_MODALITY, {}).get("Value", ())}
        study[_MODALITIES] = {"vr": "CS", "Value": sorted(modalities)} if modalities else {"vr": "CS"}
        study[_STUDY_SERIES] = {"vr": "IS", "Value": [len(series)]}
        study[_AVAILABILITY] = {"vr": "CS", "Value": ["ONLINE"]}
        study[_URL] = {"vr": "UR", "Value": [f"{self._dicomweb}/studies/{uid}"]}
        return study

    def series(self, query: Query, *, in_study: bool) -> Iterator[Json]:
        """Yield the series that match. in_study: the path names the study, so its attributes are left out."""
        required = SERIES if in_study else {**STUDY, **SERIES}
        for one, attributes in self._matching_series(query, "series"):
            count = self._catalogue.counts([one.entry.series_uid]) if not one.result else {}
            instances = sum(each.instances for each in count.values()) + len(one.result)
            attributes[_SERIES_INSTANCES] = {"vr": "IS", "Value": [instances]}
            yield _answered(attributes, required, query, {_SERIES_INSTANCES})

    def instances(self, query: Query, *, in_study: bool, in_series: bool) -> Iterator[Json]:
        """Yield the instances that match."""
        required = {**({} if in_study else STUDY), **({} if in_series else SERIES), **INSTANCE}
        sop_uid = query.uid(_SOP_UID)
        of_sop = self._series_of(sop_uid) if sop_uid else ""
        for one, attributes in self._matching_series(query, "instances"):
            uid = one.entry.series_uid
            if sop_uid and uid != of_sop:
                continue
            held = one.result or tuple(self._holdings.find(one.entry.study_uid, uid))
            if not held:
                continue
            for found, model in zip(held, self._metadata.of_series(held), strict=True):
                url = f"{self._dicomweb}/studies/{found.study_uid}/series/{uid}/instances/{found.sop_uid}"
                model[_URL] = {"vr": "UR", "Value": [url]}
                model[_AVAILABILITY] = attributes[_AVAILABILITY]
                if all(one.holds(model) for one in query.wanted if one.tag != _MODALITIES):
                    yield _answered(model, required, query, set())

    def _series_of(self, sop_uid: str) -> str:
        received = self._catalogue.series_of(sop_uid)
        return received or next((one.series_uid for one in self._holdings.results() if one.sop_uid == sop_uid), "")

    def _matching_series(self, query: Query, level: Literal["series", "instances"]) -> Iterator[tuple[Searched, Json]]:
        """Yield the series whose attributes match. level: what is searched; of instances, other attributes are left."""
        studies: dict[str, list[Searched]] = {}
        every = self._series(query)
        for one in every:
            studies.setdefault(one.entry.study_uid, []).append(one)
        summaries = {uid: self._study(uid, series) for uid, series in studies.items()}
        for one in sorted(every, key=lambda each: (each.entry.study_uid, each.entry.series_uid)):
            study = summaries[one.entry.study_uid]
            url = f"{self._dicomweb}/studies/{one.entry.study_uid}/series/{one.entry.series_uid}"
            attributes = {
                **study,
                **one.entry.attributes,
                _STUDY_UID: {"vr": "UI", "Value": [one.entry.study_uid]},
                _SERIES_UID: {"vr": "UI", "Value": [one.entry.series_uid]},
                _URL: {"vr": "UR", "Value": [url]},
            }
            del attributes[_STUDY_SERIES]
            if self._holds(attributes, query, level):
                yield one, attributes

    @staticmethod
    def _holds(attributes: Json, query: Query, level: str) -> bool:
        for one in query.wanted:
            if one.tag == _SOP_CLASSES:
                raise _not_queried(one.tag, level)
            if one.tag in STUDY_LEVEL | SERIES_LEVEL:
                if not one.holds(attributes):
                    return False
            elif level == "series":
                raise _not_queried(one.tag, level)
        return True

    def _series(self, query: Query) -> list[Searched]:
        """Return the series that may match: of the study that the query names, or all. Results come last."""
        study_uid = query.uid(_STUDY_UID)
        received = [Searched(entry) for entry in self._catalogue.series(study_uid)]
        here, studies = {one.entry.series_uid for one in received}, {one.entry.study_uid for one in received}
        results: dict[str, list[Holding]] = {}
        for one in self._holdings.results(study_uid):
            if one.series_uid not in here and one.study_uid in studies:
                results.setdefault(one.series_uid, []).append(one)
        own = [
            Searched(SeriesEntry(some[0].study_uid, uid, self._attributes(some[0])), tuple(some))
            for uid, some in results.items()
        ]
        return [*received, *own]

    def _attributes(self, result: Holding) -> Json:
        """Return the attributes of a series of results; one UID never has two contents."""
        if result.sop_uid not in self._result_attributes:
            if len(self._result_attributes) >= _MOST_RESULTS:
                self._result_attributes.clear()
            self._result_attributes[result.sop_uid] = json_of(Image.open(result.path).dataset, only=TAGS)
        return self._result_attributes[result.sop_uid]


def _answered(attributes: Json, required: dict[str, str], query: Query, counts: set[str]) -> Json:
    """Return the attributes that a query is answered with."""
    wanted = set(required) | OPTIONAL | counts | query.include | {_AVAILABILITY, _URL}
    shown = {tag: value for tag, value in attributes.items() if query.everything or tag in wanted}
    shown |= {tag: {"vr": vr} for tag, vr in required.items() if tag not in shown}
    return dict(sorted(shown.items()))


def _newest_first(study: Json) -> tuple[str, str, str]:
    date, time, uid = (str(study.get(tag, {}).get("Value", [""])[0]) for tag in ("00080020", "00080030", _STUDY_UID))
    return date, time, uid


def _not_queried(tag: str, level: str) -> HTTPException:
    return HTTPException(400, f"{level} cannot be searched by ({tag[:4]},{tag[4:]})")


def router(search: Search, dicomweb: str) -> APIRouter:
    """Return the routes of QIDO-RS."""
    routes = APIRouter(tags=["QIDO-RS"])

    def answer(request: Request, path: dict[str, str], find: Callable[[Query], Iterable[Json]]) -> Response:
        form = json_or_xml(request)
        query = parse(request.query_params, path)
        some = list(islice(find(query), query.offset, query.offset + query.limit + 1))
        warnings = [MORE] if len(some) > query.limit else []
        if query.fuzzy:
            warnings.append(FUZZY)
        found = some[: query.limit]
        headers = {"Warning": ", ".join(f'299 {dicomweb}: "{text}"' for text in warnings)} if warnings else {}
        if not found:
            return Response(status_code=204, headers=headers)
        if form == XML:
            several = multipart((Part(XML, iter((xml_of(one),))) for one in found), XML)
            several.headers.update(headers)
            return several
        return Response(json.dumps(found, separators=(",", ":")), media_type=JSON, headers=headers)

    @routes.get("/studies", operation_id="searchForStudies")
    def studies(request: Request) -> Response:
        return answer(request, {}, search.studies)

    @routes.get("/series", operation_id="searchForSeries")
    def series(request: Request) -> Response:
        return answer(request, {}, lambda query: search.series(query, in_study=False))

    @routes.get("/instances", operation_id="searchForInstances")
    def instances(request: Request) -> Response:
        return answer(request, {}, lambda query: search.instances(query, in_study=False, in_series=False))

    @routes.get("/studies/{study_uid}/series", operation_id="searchForSeriesInStudy")
    def series_of_study(request: Request, study_uid: PathUid) -> Response:
        return answer(request, {_STUDY_UID: study_uid}, lambda query: search.series(query, in_study=True))

    @routes.get("/studies/{study_uid}/instances", operation_id="searchForInstancesInStudy")
    def instances_of_study(request: Request, study_uid: PathUid) -> Response:
        path = {_STUDY_UID: study_uid}
        return answer(request, path, lambda query: search.instances(query, in_study=True, in_series=False))

    @routes.get("/studies/{study_uid}/series/{series_uid}/instances", operation_id="searchForInstancesInSeries")
    def instances_of_series(request: Request, study_uid: PathUid, series_uid: PathUid) -> Response:
        path = {_STUDY_UID: study_uid, _SERIES_UID: series_uid}
        return answer(request, path, lambda query: search.instances(query, in_study=True, in_series=True))

    return routes

"""The answer to STOW-RS (PS3.18 section 10.5.3): what is stored, what failed and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from voxtell_dicom.dicom.json_model import Json
from voxtell_dicom.receive.intake import OUT_OF_RESOURCES, STATUS

SYNTAX_NOT_SUPPORTED: Final = 0xC122
RETRY_AFTER_S: Final = 30


@dataclass(frozen=True)
class StoredInstance:
    """An instance that lies on disk."""

    sop_class_uid: str
    sop_instance_uid: str
    study_uid: str
    series_uid: str


@dataclass(frozen=True)
class FailedInstance:
    """A part that was not stored. UIDs: as its file meta information says, "" where it says nothing."""

    sop_class_uid: str
    sop_instance_uid: str
    reason: int


@dataclass
class StoreReport:
    """The outcomes of the parts of one request, in their order."""

    stored: list[StoredInstance] = field(default_factory=list)
    failed: list[FailedInstance] = field(default_factory=list)

    @property
    def status(self) -> int:
        """Return the status of the response (Table 10.5.3-1)."""
        if not self.failed:
            return 200
        if self.stored:
            return 202
        reasons = {failure.reason for failure in self.failed}
        if OUT_OF_RESOURCES in reasons:
            return 503
        return 413 if reasons == {STATUS["too-large"]} else 409

    def json(self, dicomweb: str, study_uid: str) -> Json:
        """Return the Store Instances Response Module. dicomweb: with which links begin. study_uid: of the request."""
        studies = {one.study_uid for one in self.stored} | ({study_uid} if study_uid else set())
        answer: Json = {}
        if len(studies) == 1:
            answer["00081190"] = {"vr": "UR", "Value": [f"{dicomweb}/studies/{next(iter(studies))}"]}
        unknown = [failure for failure in self.failed if not failure.sop_instance_uid]
        known = [failure for failure in self.failed if failure.sop_instance_uid]
        if known:
            items = [{**_reference(one.sop_class_uid, one.sop_instance_uid), **_reason(one)} for one in known]
            answer["00081198"] = {"vr": "SQ", "Value": items}
        if self.stored:
            answer["00081199"] = {"vr": "SQ", "Value": [_stored(one, dicomweb) for one in self.stored]}
        if unknown:
            answer["0008119A"] = {"vr": "SQ", "Value": [_reason(failure) for failure in unknown]}
        return answer


def _stored(one: StoredInstance, dicomweb: str) -> Json:
    url = f"{dicomweb}/studies/{one.study_uid}/series/{one.series_uid}/instances/{one.sop_instance_uid}"
    return {**_reference(one.sop_class_uid, one.sop_instance_uid), "00081190": {"vr": "UR", "Value": [url]}}


def _reference(sop_class_uid: str, sop_instance_uid: str) -> Json:
    return {
        "00081150": {"vr": "UI", "Value": [sop_class_uid]},
        "00081155": {"vr": "UI", "Value": [sop_instance_uid]},
    }


def _reason(failure: FailedInstance) -> Json:
    return {"00081197": {"vr": "US", "Value": [failure.reason]}}

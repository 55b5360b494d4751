"""QIDO-RS: who matches, what is answered, and how much of it."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, SecondaryCaptureImageStorage, generate_uid

from tests.receive.receiving import make_series
from tests.system.node_process import NodeProcess
from tests.web.messages import part10, root, store

STUDY_UID, SERIES_UID, SOP_UID = "0020000D", "0020000E", "00080018"


@dataclass(frozen=True)
class Held:
    """Three studies of one patient: an older one of two series, a newer one, one without most of its attributes."""

    old: list[list[Dataset]]
    new: list[Dataset]
    bare: list[Dataset]
    patient: str

    @property
    def uids(self) -> tuple[str, str, str]:
        return self.old[0][0].StudyInstanceUID, self.new[0].StudyInstanceUID, self.bare[0].StudyInstanceUID


@pytest.fixture(scope="module")
def held(node: NodeProcess) -> Held:
    quiet = {"SOPClassUID": SecondaryCaptureImageStorage, "PatientID": f"Q{generate_uid()[-12:]}"}
    who = {**quiet, "PatientName": "Müller^Jörg", "PatientSex": "M", "SpecificCharacterSet": "ISO_IR 100"}
    first = {
        **who,
        "StudyDate": "20240131",
        "StudyTime": "101500.5",
        "StudyDescription": "Abdomen",
        "AccessionNumber": "A-1",
    }
    study = generate_uid()
    old = [
        make_series(3, study_uid=study, SeriesNumber=2, SeriesDescription="axial 5 mm", **first),
        make_series(1, study_uid=study, SeriesNumber=3, Modality="SR", **first),
    ]
    new = make_series(2, study_uid=generate_uid(), StudyDate="20250601", StudyTime="0800", AccessionNumber="B-2", **who)
    bare = make_series(1, study_uid=generate_uid(), **quiet)
    for series in (*old, new, bare):
        assert store(node, [part10(one) for one in series]).status_code == 200
    return Held(old, new, bare, quiet["PatientID"])


def search(node: NodeProcess, path: str, **parameters: Any) -> list[dict[str, Any]]:
    answer = requests.get(f"{root(node)}/{path}", params=parameters, timeout=30)
    assert answer.status_code in (200, 204), answer.text
    if answer.status_code == 204:
        assert answer.content == b""
        return []
    assert answer.headers["Content-Type"] == "application/dicom+json"
    found: list[dict[str, Any]] = answer.json()
    return found


def value(model: dict[str, Any], tag: str) -> Any:
    values = model[tag].get("Value", [None])
    return values if len(values) > 1 else values[0]


@pytest.mark.parametrize(
    ("parameters", "studies"),
    [
        ({}, "new old bare"),
        ({"PatientName": "Müller^Jörg"}, "new old"),
        ({"PatientName": "müll*"}, "new old"),
        ({"00100010": "M?ller^*"}, "new old"),
        ({"PatientName": "Roe*"}, ""),
        ({"PatientName": "*"}, "new old bare"),
        ({"PatientSex": ""}, "new old bare"),
        ({"StudyDate": "20240131"}, "old"),
        ({"StudyDate": "20240101-20240131"}, "old"),
        ({"StudyDate": "20240201-"}, "new"),
        ({"StudyDate": "-20240131"}, "old"),
        ({"StudyTime": "1000-1100"}, "old"),
        ({"StudyTime": "101500-"}, "old"),
        ({"AccessionNumber": "A-*"}, "old"),
        ({"AccessionNumber": "a-1"}, ""),
        ({"AccessionNumber": ".*"}, ""),
        ({"ModalitiesInStudy": "SR"}, "old"),
        ({"ModalitiesInStudy": "SR,CT"}, "new old bare"),
        ({"SOPClassesInStudy": CTImageStorage}, ""),
        ({"SeriesDescription": "axial*", "Modality": "CT"}, "old"),
        ({"RequestAttributesSequence.ScheduledProcedureStepID": "X"}, ""),
        ({"StudyDescription": "Abdomen", "PatientSex": "F"}, ""),
    ],
)
def test_studies_that_match(node: NodeProcess, held: Held, parameters: dict[str, str], studies: str) -> None:
    found = search(node, "studies", PatientID=held.patient, **parameters)
    names = dict(zip(held.uids, ("old", "new", "bare"), strict=True))
    assert " ".join(names[value(one, STUDY_UID)] for one in found) == studies


def test_a_list_of_uids_matches_each(node: NodeProcess, held: Held) -> None:
    for separator in (",", "\\"):
        found = search(node, "studies", StudyInstanceUID=separator.join(held.uids[:2]))
        assert {value(one, STUDY_UID) for one in found} == set(held.uids[:2])


def test_a_study_has_what_the_standard_requires(node: NodeProcess, held: Held) -> None:
    [study] = search(node, "studies", StudyInstanceUID=held.uids[0])
    assert {tag: value(study, tag) for tag in study} == {
        "00080005": "ISO_IR 192",
        "00080020": "20240131",
        "00080030": "101500.5",
        "00080050": "A-1",
        "00080056": "ONLINE",
        "00080061": ["CT", "SR"],
        "00080090": None,
        "00081030": "Abdomen",
        "00081190": f"{root(node)}/studies/{held.uids[0]}",
        "00100010": {"Alphabetic": "Müller^Jörg"},
        "00100020": held.patient,
        "00100030": None,
        "00100040": "M",
        "0020000D": held.uids[0],
        "00200010": None,
        "00201206": 2,
        "00201208": 4,
    }
    [bare] = search(node, "studies", StudyInstanceUID=held.uids[2])
    assert bare["00080020"] == {"vr": "DA"}


def test_a_series_has_what_the_standard_requires(node: NodeProcess, held: Held) -> None:
    series = held.old[0]
    [found] = search(node, f"studies/{held.uids[0]}/series", SeriesNumber="2")
    assert {tag: value(found, tag) for tag in found} == {
        "00080005": "ISO_IR 192",
        "00080056": "ONLINE",
        "00080060": "CT",
        "0008103E": "axial 5 mm",
        "00081190": f"{root(node)}/studies/{held.uids[0]}/series/{series[0].SeriesInstanceUID}",
        "0020000E": series[0].SeriesInstanceUID,
        "00200011": 2,
        "00201209": 3,
    }
    [anywhere] = search(node, "series", SeriesInstanceUID=series[0].SeriesInstanceUID)
    assert anywhere.items() >= found.items()
    assert value(anywhere, STUDY_UID) == held.uids[0]
    assert value(anywhere, "00100020") == held.patient


def test_an_instance_has_what_the_standard_requires(node: NodeProcess, held: Held) -> None:
    one = held.old[0][1]
    series = f"studies/{held.uids[0]}/series/{one.SeriesInstanceUID}"
    [found] = search(node, f"{series}/instances", InstanceNumber="2")
    assert {tag: value(found, tag) for tag in found} == {
        "00080005": "ISO_IR 192",
        "00080016": SecondaryCaptureImageStorage,
        "00080018": one.SOPInstanceUID,
        "00080056": "ONLINE",
        "00081190": f"{root(node)}/{series}/instances/{one.SOPInstanceUID}",
        "00200013": 2,
        "00280010": 32,
        "00280011": 32,
        "00280100": 16,
    }
    assert len(search(node, f"{series}/instances")) == 3
    assert len(search(node, f"studies/{held.uids[0]}/instances")) == 4
    [anywhere] = search(node, "instances", SOPInstanceUID=one.SOPInstanceUID)
    assert value(anywhere, SERIES_UID) == one.SeriesInstanceUID
    assert search(node, "instances", SOPInstanceUID=generate_uid()) == []


def test_more_is_answered_where_it_is_wanted(node: NodeProcess, held: Held) -> None:
    one = {"SeriesInstanceUID": held.old[0][0].SeriesInstanceUID}
    path = f"studies/{held.uids[0]}/series"
    assert "00200052" not in search(node, path, **one)[0]
    for wanted in ("FrameOfReferenceUID", "00200052", "00080070,FrameOfReferenceUID", ["00080070", "00200052"], "all"):
        assert value(search(node, path, includefield=wanted, **one)[0], "00200052") == "1.2.3.4.5"
    [every] = search(node, f"{path}/{one['SeriesInstanceUID']}/instances", includefield="all", InstanceNumber="1")
    assert value(every, "00280030") == [1, 1]


def test_pages(node: NodeProcess, held: Held) -> None:
    url, patient = f"{root(node)}/studies", {"PatientID": held.patient}
    first = requests.get(url, params={**patient, "limit": 2}, timeout=30)
    assert "additional results" in first.headers["Warning"]
    rest = requests.get(url, params={**patient, "limit": 2, "offset": 2}, timeout=30)
    assert "Warning" not in rest.headers
    assert first.json() + rest.json() == search(node, "studies", **patient)
    assert search(node, "studies", **patient, offset=3) == []


def test_fuzzy_matching_is_answered_by_the_warning(node: NodeProcess, held: Held) -> None:
    answer = requests.get(
        f"{root(node)}/studies", params={"PatientID": held.patient, "fuzzymatching": "true"}, timeout=30
    )
    text = "The fuzzymatching parameter is not supported. Only literal matching has been performed."
    assert answer.headers["Warning"] == f'299 {root(node)}: "{text}"'
    assert len(answer.json()) == 3


@pytest.mark.parametrize(
    "parameters",
    [
        {"NoSuchKeyword": "x"},
        {"limit": "-1"},
        {"offset": "x"},
        {"StudyDate": "yesterday"},
        {"StudyTime": "noon"},
        {"StudyInstanceUID": "../etc"},
        {"SOPInstanceUID": "1.2.3"},
        {"WindowCenter": "40"},
        {"includefield": "NoSuchKeyword"},
        {"PatientName": "x" * 5000},
    ],
)
def test_what_cannot_be_searched_by_is_refused_not_ignored(
    node: NodeProcess, held: Held, parameters: dict[str, str]
) -> None:
    assert requests.get(f"{root(node)}/studies", params=parameters, timeout=30).status_code == 400


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("series", {"SOPClassesInStudy": CTImageStorage}),
        ("series", {"Rows": "512"}),
        ("instances", {"SOPClassesInStudy": CTImageStorage}),
        ("instances", {"limit": "1.5"}),
    ],
)
def test_neither_is_it_at_other_levels(node: NodeProcess, held: Held, path: str, parameters: dict[str, str]) -> None:
    answer = requests.get(f"{root(node)}/{path}", params={"PatientID": held.patient, **parameters}, timeout=30)
    assert answer.status_code == 400


def test_results_are_found_and_what_is_held_is_not(node: NodeProcess) -> None:
    series = make_series(8, study_uid=generate_uid(), SeriesDescription="for the rule", SeriesNumber=4)
    kept_back = make_series(8, study_uid=generate_uid(), SeriesDescription="for holding")
    for some in (series, kept_back):
        assert store(node, [part10(one) for one in some]).status_code == 200
    uids = {some[0].SeriesInstanceUID for some in (series, kept_back)}
    node.wait(lambda: {job["state"] for job in node.jobs() if job["series_uid"] in uids} == {"kept", "held"})
    [study] = search(node, "studies", StudyInstanceUID=series[0].StudyInstanceUID)
    assert (value(study, "00080061"), value(study, "00201206"), value(study, "00201208")) == (["CT", "SEG"], 2, 9)
    [seg] = search(node, f"studies/{series[0].StudyInstanceUID}/series", Modality="SEG")
    assert "TEST - NOT FOR PATIENTS" in value(seg, "0008103E")
    [one] = search(node, f"studies/{series[0].StudyInstanceUID}/series/{value(seg, SERIES_UID)}/instances")
    assert value(one, "00080016") == "1.2.840.10008.5.1.4.1.1.66.4"
    [found] = search(node, "instances", SOPInstanceUID=value(one, SOP_UID))
    assert value(found, SERIES_UID) == value(seg, SERIES_UID)
    assert search(node, f"studies/{kept_back[0].StudyInstanceUID}/series", Modality="SEG") == []


def test_an_index_without_attributes_is_completed(node: NodeProcess, held: Held) -> None:
    """As after a lost database, or of a node that was upgraded."""
    with sqlite3.connect(node.storage / "node.sqlite", timeout=30) as connection:
        done = connection.execute(
            "DELETE FROM voxtell_series_attributes WHERE attributes LIKE ?", (f"%{held.patient}%",)
        )
        assert done.rowcount == 4
    assert len(search(node, "studies", PatientID=held.patient)) == 3
    assert len(node.read(f"SELECT 1 FROM voxtell_series_attributes WHERE attributes LIKE '%{held.patient}%'")) == 4

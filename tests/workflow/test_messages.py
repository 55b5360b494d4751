"""Queue messages: written and read again; those that version 0.1 left in a queue are read, too."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from tests.workflow.test_jobs import RESULT
from voxtell_dicom.line.plan import job_id
from voxtell_dicom.model import Instance, Series, dump
from voxtell_dicom.workflow.messages import (
    DeliverMessage,
    NotifyMessage,
    ProcessMessage,
    PublishMessage,
    SegmentMessage,
    StudyMessage,
    deliveries,
    series_of_v1,
)

SERIES = Series("1.2", "1.2.3", "v1", (Instance("1.2.3.4", "1.2", "1.2.3", "1.2", Path("/old/a.dcm")),), "CT1")
MESSAGES = [
    ProcessMessage("1.2.3", "v1"),
    SegmentMessage(("a", "b"), "study", "17"),
    PublishMessage("a"),
    DeliverMessage("a", ("2.25.1", "2.25.2"), "pacs", 3, True),
    NotifyMessage(jobs=("a",)),
    NotifyMessage(series_uid="1.2.3", version="v1"),
    NotifyMessage(study_uid="1.2"),
    StudyMessage("1.2", "state", ":1", 2),
]


@pytest.mark.parametrize("message", MESSAGES)
def test_what_is_written_is_read(message: ProcessMessage) -> None:
    written = json.loads(json.dumps(message.written()))
    assert written["v"] == 2
    assert type(message).read(written) == message
    assert len(json.dumps(written)) < 300, "references, no copies"
    assert {field.name for field in fields(message)} <= written.keys()


def test_version_0_1() -> None:
    process = {"v": 1, "series": dump(SERIES)}
    assert ProcessMessage.read(process) == ProcessMessage("1.2.3", "v1")
    assert ProcessMessage.read(process).id == f"process:{job_id('1.2.3', 'v1')}"
    assert series_of_v1(process) == SERIES
    assert series_of_v1(ProcessMessage.read(process).written()) is None
    name = f"segment:{job_id('a')}"
    for planned, folder in (
        ({"array": "/data/work/k.npy"}, ""),
        ({"arrays": ["/data/work/k.npy"]}, ""),
        ({"arrays": ["/data/work/study/k.npy"]}, "study"),
    ):
        segment = {"v": 1, "id": f"{name}:17", "jobs": ["a"], "planned": planned}
        assert SegmentMessage.read(segment) == SegmentMessage(("a",), folder, "17")
        assert SegmentMessage.read(segment).id == f"{name}:17"
    assert PublishMessage.read({"v": 1, "job": "a"}) == PublishMessage("a")
    deliver = {"v": 1, "job": "a", "result": dump(RESULT), "peer": "pacs", "attempt": 2}
    assert DeliverMessage.read(deliver) == DeliverMessage("a", ("2.25.1",), "pacs", 2)
    assert DeliverMessage.read({**deliver, "more": ["2.25.9"], "notice": True}).uids == ("2.25.1", "2.25.9")
    assert DeliverMessage.read(deliver).id == "deliver:2.25.1:pacs:2"
    assert NotifyMessage.read({"v": 1, "series": dump(SERIES)}) == NotifyMessage(series_uid="1.2.3", version="v1")
    assert NotifyMessage.read({"v": 1, "jobs": ["a"]}) == NotifyMessage(jobs=("a",))
    assert NotifyMessage.read({"v": 1, "study": "1.2"}) == NotifyMessage(study_uid="1.2")


def test_the_objects_of_a_series_go_together() -> None:
    assert deliveries("a", [RESULT], ["pacs", "archive"]) == [
        DeliverMessage("a", ("2.25.1",), "pacs"),
        DeliverMessage("a", ("2.25.1",), "archive"),
    ]

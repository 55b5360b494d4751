"""STOW-RS: what is stored, what is answered where it is not, and what becomes of the series."""

from __future__ import annotations

import copy
import socket
import xml.etree.ElementTree as ElementTree

import pytest
import requests
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

from tests.receive.receiving import make_series
from tests.receive.sending import encode
from tests.system.node_process import NodeProcess
from tests.web.messages import FAILED, OTHERS, REASON, REFERENCED, SOP, items, message, part10, root, store

QUIET = SecondaryCaptureImageStorage  # a class that starts no work


def rows(node: NodeProcess, series_uid: str) -> int:
    return len(node.read(f"SELECT 1 FROM voxtell_instance WHERE series_uid = '{series_uid}'"))


def test_a_series_is_stored_whole_and_handed_on_after_the_request(node: NodeProcess) -> None:
    series = make_series(12, study_uid=generate_uid(), SeriesDescription="for the rule")
    answer = store(node, [part10(one) for one in series])
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/dicom+json"
    assert [item[SOP]["Value"][0] for item in items(answer, REFERENCED)] == [one.SOPInstanceUID for one in series]
    assert answer.json()["00081190"]["Value"] == [f"{root(node)}/studies/{series[0].StudyInstanceUID}"]
    uid = series[0].SeriesInstanceUID
    jobs = node.wait(lambda: [job for job in node.jobs() if job["series_uid"] == uid and job["state"] == "kept"])
    assert len(jobs) == 1
    assert f"{uid}" in node.log()
    assert "incomplete" not in node.log()
    assert "Doe" not in node.log()  # no patient data


def test_what_is_stored_is_what_was_sent(node: NodeProcess) -> None:
    one = make_series(1, study_uid=generate_uid(), SOPClassUID=QUIET)[0]
    sent = part10(one)
    assert store(node, [sent]).status_code == 200
    found = node.read(f"SELECT object FROM voxtell_instance WHERE sop_uid = '{one.SOPInstanceUID}'")
    stored = (node.storage / "spool" / found[0]["object"]).read_bytes()
    assert stored.endswith(encode(one))
    assert sent.endswith(encode(one))


@pytest.mark.parametrize("accept", ["application/dicom+xml", "application/dicom+json;q=0.1, application/dicom+xml"])
def test_the_answer_is_xml_where_that_is_preferred(node: NodeProcess, accept: str) -> None:
    one = make_series(1, study_uid=generate_uid(), SOPClassUID=QUIET)[0]
    answer = store(node, [part10(one)], headers={"Accept": accept})
    assert answer.headers["Content-Type"] == "application/dicom+xml"
    space = {"n": "http://dicom.nema.org/PS3.19/models/NativeDICOM"}
    document = ElementTree.fromstring(answer.content)
    path = "n:DicomAttribute[@keyword='ReferencedSOPSequence']/n:Item/n:DicomAttribute[@tag='00081155']/n:Value"
    found = document.findall(path, space)
    assert [value.text for value in found] == [one.SOPInstanceUID]


def test_each_part_gets_its_own_reason(node: NodeProcess) -> None:
    study = generate_uid()
    good, wrong_meta, cut, foreign, no_patient = make_series(5, study_uid=study, SOPClassUID=QUIET)
    assert store(node, [part10(good)]).status_code == 200
    other = f"{wrong_meta.SOPInstanceUID[:-1]}9"
    mismatched = part10(wrong_meta).replace(wrong_meta.SOPInstanceUID.encode(), other.encode(), 1)
    foreign.StudyInstanceUID = generate_uid()
    moved = copy.deepcopy(no_patient)
    moved.PatientID = "P2"
    bodies = [part10(good), mismatched, part10(cut)[:-100], part10(foreign), part10(moved), b"no dicom at all"]
    answer = store(node, bodies, study)
    assert answer.status_code == 202
    assert [item[SOP]["Value"][0] for item in items(answer, REFERENCED)] == [good.SOPInstanceUID]
    reasons = {item[SOP]["Value"][0]: item[REASON]["Value"][0] for item in items(answer, FAILED)}
    assert reasons == {
        other: 0xA900,
        cut.SOPInstanceUID: 0xC000,
        foreign.SOPInstanceUID: 0xA900,
        moved.SOPInstanceUID: 0xC003,
    }
    assert [item[REASON]["Value"][0] for item in items(answer, OTHERS)] == [0xC000]
    assert rows(node, good.SeriesInstanceUID) == 1


def test_a_transfer_syntax_that_brings_no_image_is_refused(node: NodeProcess) -> None:
    one = make_series(1, study_uid=generate_uid(), SOPClassUID=QUIET)[0]
    content = part10(one).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0", 1)
    answer = store(node, [content])
    assert (answer.status_code, items(answer, FAILED)[0][REASON]["Value"]) == (409, [0xC122])


def test_what_is_too_large_is_named_and_what_follows_is_stored(node: NodeProcess) -> None:
    large, small = make_series(2, study_uid=generate_uid(), SOPClassUID=QUIET)
    large.Rows, large.Columns, large.PixelData = 2000, 2000, bytes(8_000_000)
    answer = store(node, [part10(large)])
    assert (answer.status_code, items(answer, FAILED)[0][REASON]["Value"]) == (413, [0xC004])
    answer = store(node, [part10(large), part10(small)])
    assert answer.status_code == 202
    assert items(answer, FAILED)[0][SOP]["Value"] == [large.SOPInstanceUID]
    assert rows(node, small.SeriesInstanceUID) == 1


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 415),
        ('multipart/related; type="application/dicom+json"; boundary=x', 415),
        ('multipart/form-data; type="application/dicom"; boundary=x', 415),
        ('multipart/related; type="application/dicom"', 400),
        ('multipart/related; type="application/dicom"; boundary=' + "x" * 300, 400),
        ('multipart/related; type="application/dicom"; boundary=other', 400),
        ("", 415),
    ],
)
def test_other_messages_are_refused(node: NodeProcess, content_type: str, status: int) -> None:
    body, _ = message([b"x"], boundary="x")
    answer = requests.post(f"{root(node)}/studies", data=body, headers={"Content-Type": content_type}, timeout=30)
    assert answer.status_code == status


@pytest.mark.parametrize("uid", ["..", "1.2..3", "1.2.", ".1", "1.2.a", "%2e%2e", "..%2f..%2fetc", "1" * 65, "1.2/3/4"])
def test_a_path_without_a_uid_is_refused(node: NodeProcess, uid: str) -> None:
    body, content_type = message([b"x"])
    with requests.Session() as session:
        request = requests.Request("POST", f"{root(node)}/studies/x", data=body, headers={"Content-Type": content_type})
        prepared = session.prepare_request(request)
        prepared.url = f"{root(node)}/studies/{uid}"  # as it is: requests would tidy it up
        assert session.send(prepared, timeout=30).status_code in (400, 404, 405)


def test_an_encoded_body_and_an_answer_that_cannot_be_given_are_refused(node: NodeProcess) -> None:
    one = part10(make_series(1, study_uid=generate_uid(), SOPClassUID=QUIET)[0])
    assert store(node, [one], headers={"Content-Encoding": "gzip"}).status_code == 415
    assert store(node, [one], headers={"Accept": "text/html"}).status_code == 406


def test_the_same_again_is_no_error(node: NodeProcess) -> None:
    series = make_series(2, study_uid=generate_uid(), SOPClassUID=QUIET)
    bodies = [part10(one) for one in series]
    assert [store(node, bodies).status_code for _ in range(2)] == [200, 200]
    assert rows(node, series[0].SeriesInstanceUID) == 2


def test_a_series_that_was_cut_off_waits_for_the_rest(node: NodeProcess) -> None:
    series = make_series(3, study_uid=generate_uid(), SeriesDescription="for the rule")
    uid = series[0].SeriesInstanceUID
    body, content_type = message([part10(one) for one in series])
    head = f"POST /dicomweb/studies HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
    with socket.create_connection(("127.0.0.1", node.http_port)) as link:
        link.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[: len(body) * 2 // 3])
        node.wait(lambda: rows(node, uid))
    node.wait(lambda: node.read(f"SELECT 1 FROM voxtell_hold WHERE series_uid = '{uid}' AND released = 0"))
    assert store(node, [part10(one) for one in series]).status_code == 200
    node.wait(lambda: [job for job in node.jobs() if job["series_uid"] == uid and job["state"] == "kept"])


def test_a_message_without_its_end_is_refused_and_says_what_is_stored(node: NodeProcess) -> None:
    series = make_series(2, study_uid=generate_uid(), SOPClassUID=QUIET)
    body, content_type = message([part10(one) for one in series])
    for broken in (body[:-10], body[: len(body) * 2 // 3]):
        answer = requests.post(f"{root(node)}/studies", data=broken, headers={"Content-Type": content_type}, timeout=30)
        assert answer.status_code == 400
        assert "1 instances before that are stored" in answer.json()["detail"]

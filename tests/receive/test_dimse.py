"""The Storage SCP against real senders: who may send, what is kept, what is refused and how."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless
from structlog.testing import capture_logs

from tests.receive.receiving import Receiver, make_series, write_files
from tests.receive.sending import association, echoscu, encode, send, storescu
from voxtell_dicom.errors import PortUnavailable


def test_stored_files_are_the_datasets_byte_for_byte(receiver, tmp_path):
    node = receiver()
    series = make_series(5)
    assert storescu(node.port, write_files(tmp_path / "in", series)).returncode == 0
    (done,) = node.wait(1)
    assert (done.calling_ae, done.called_ae, done.incomplete) == ("CT1", "VOXTELL", "")
    assert [i.sop_instance_uid for i in done.instances] == sorted(ds.SOPInstanceUID for ds in series)
    sent = {ds.SOPInstanceUID: encode(ds) for ds in series}
    for instance in done.instances:
        stored = pydicom.dcmread(instance.path)
        assert instance.path.read_bytes().endswith(sent[instance.sop_instance_uid])
        assert stored.file_meta.SourceApplicationEntityTitle == "CT1"
        assert instance.sop_instance_uid not in str(instance.path)
    check = subprocess.run(["dcmftest", *(str(i.path) for i in done.instances)], capture_output=True, check=False)
    assert check.returncode == 0, check.stdout


TOOLS = {  # how DCMTK makes it, how it sends it, what it is
    "1.2.840.10008.1.2": (["dcmconv", "+ti"], "-xi"),
    "1.2.840.10008.1.2.1": (["dcmconv", "+te"], "-xe"),
    "1.2.840.10008.1.2.2": (["dcmconv", "+tb"], "-xb"),
    "1.2.840.10008.1.2.1.99": (["dcmconv", "+td"], "-xd"),
    "1.2.840.10008.1.2.4.70": (["dcmcjpeg", "+e1"], "-xs"),
    "1.2.840.10008.1.2.5": (["dcmcrle"], "-xr"),
}


@pytest.mark.parametrize("syntax", TOOLS)
def test_any_transfer_syntax_is_kept_as_sent(receiver, tmp_path, syntax):
    node = receiver()
    series = make_series(2)
    files = write_files(tmp_path / "in", series)
    command, option = TOOLS[syntax]
    for path in files:
        subprocess.run([*command, str(path), str(path)], check=True)
    assert storescu(node.port, files, option).returncode == 0
    (done,) = node.wait(1)
    for instance, original in zip(done.instances, series, strict=True):
        assert instance.transfer_syntax_uid == syntax
        assert np.array_equal(pydicom.dcmread(instance.path).pixel_array, original.pixel_array)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless])
def test_a_resend_in_another_transfer_syntax_is_the_same(receiver, syntax):
    node = receiver()
    series = make_series(3)
    with association(node.port, series) as link:
        assert [send(link, ds).Status for ds in series] == [0, 0, 0]
    (done,) = node.wait(1)
    before = [instance.path.read_bytes() for instance in done.instances]
    for ds in series:
        ds.compress(syntax, generate_instance_uid=False)
    with association(node.port, series) as link:
        assert [send(link, ds).Status for ds in series] == [0, 0, 0]
    node.nothing_more(0.8)
    assert [instance.path.read_bytes() for instance in done.instances] == before


def test_label_map_segmentation_is_among_the_storage_classes(receiver):
    node = receiver()
    (ds,) = make_series(1, SOPClassUID="1.2.840.10008.5.1.4.1.1.66.7", Modality="SEG")
    with association(node.port, [ds]) as link:
        assert send(link, ds).Status == 0


def test_who_may_send(receiver):
    node = receiver(peers={"ct": {"ae_title": "CT1"}, "mr": {"ae_title": "MR 1"}})
    assert echoscu(node.port).returncode == 0
    assert echoscu(node.port, calling="MR 1").returncode == 0
    for calling, called, reason, near in (
        ("CT2", "VOXTELL", "Calling AE Title Not Recognized", ""),
        ("ct1", "VOXTELL", "Calling AE Title Not Recognized", "'CT1'"),
        ("MR1", "VOXTELL", "Calling AE Title Not Recognized", "'MR 1'"),
        ("CT1", "OTHER", "Called AE Title Not Recognized", ""),
        ("CT1", "voxtell", "Called AE Title Not Recognized", "'VOXTELL'"),
    ):
        with capture_logs() as logs:
            answer = echoscu(node.port, calling, called)
        assert answer.returncode != 0
        assert "Rejected Permanent, Source: Service User" in answer.stderr
        assert reason in answer.stderr
        (line,) = [entry for entry in logs if entry["event"] == "association rejected"]
        assert (line["calling_ae"], line["called_ae"]) == (calling, called)
        assert near in line.get("hint", "") if near else "hint" not in line


def test_without_peers_nobody_may_send_unless_unknown_ones_may(receiver, tmp_path):
    assert echoscu(receiver(peers={}).port).returncode != 0
    assert echoscu(receiver(tmp_path / "other", peers={}, accept_unknown=True).port, calling="ANY").returncode == 0


def test_too_many_associations_are_rejected_for_now(receiver):
    node = receiver(max_associations=1)
    (ds,) = make_series(1)
    with association(node.port, [ds]):
        answer = echoscu(node.port)
    assert "Rejected Transient" in answer.stderr
    assert "Local Limit Exceeded" in answer.stderr
    assert echoscu(node.port).returncode == 0


def test_silence_inside_a_pdu_frees_the_slot(receiver):
    """pynetdicom waits without end for the rest of a PDU: the one slot here would never be free again."""
    node = receiver(max_associations=1)
    node.scp.stop(0)
    scp = type(node.scp)(node.config, node.archive, node.completion, silence_s=0.3)
    scp.start()
    try:
        (ds,) = make_series(1)
        with association(scp.port, [ds]) as link, capture_logs() as logs:
            assert send(link, ds).Status == 0
            link.dul.socket.socket.sendall(b"\x04\x00\x00\x00\x40\x00half")
            until = time.monotonic() + 60
            while link.is_established and time.monotonic() < until:
                time.sleep(0.01)
            assert not link.is_established
            while "association lost" not in [line["event"] for line in logs] and time.monotonic() < until:
                time.sleep(0.01)
        assert [line["event"] for line in logs if line["log_level"] != "debug"] == ["association lost"]
        assert echoscu(scp.port).returncode == 0
    finally:
        scp.stop(0)
    (done,) = node.wait(1)
    assert len(done.instances) == 1


def test_the_largest_pdu_that_senders_use_is_offered(receiver):
    node = receiver()
    (ds,) = make_series(1)
    with association(node.port, [ds]) as link:
        assert link.acceptor.maximum_length == 131_072
        assert send(link, ds).Status == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "192.0.2.1"])
def test_a_port_that_cannot_be_opened_is_a_clear_error(tmp_path, host):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        node = Receiver(tmp_path / "spool")
        try:
            node.scp.stop(0)
            port = taken.getsockname()[1]
            dimse = node.config.node.dimse.model_copy(update={"host": host, "port": port})
            settings = node.config.model_copy(update={"node": node.config.node.model_copy(update={"dimse": dimse})})
            scp = type(node.scp)(settings, node.archive, node.completion)
            with pytest.raises(PortUnavailable, match=rf"cannot listen on {host}:{port} \(node.dimse\)"):
                scp.start()
        finally:
            node.close()


def test_what_is_refused_is_named_and_the_next_instance_works(receiver):
    node = receiver()
    series = make_series(6)
    first, empty, mismatch, moved, other_patient, good = series
    empty.SeriesInstanceUID = ""
    mismatch.SOPInstanceUID = "1.2.3.99"
    other_patient.PatientID = "P2"
    with association(node.port, series) as link:
        assert send(link, first).Status == 0
        for ds, mangle, status, words in (
            (good, lambda data: data[:-100], 0xC000, "corrupt or truncated"),
            (good, lambda data: data[:300], 0xC000, "corrupt or truncated"),
            (good, lambda data: bytes(len(data)), 0xC001, "SOP Class UID (0008,0016) is empty"),
            (good, lambda data: b"\xff" * 64 + data, 0xC000, "corrupt or truncated"),
            (empty, bytes, 0xC001, "Series Instance UID (0020,000E) is empty"),
            (mismatch, bytes, 0xA900, "SOP Instance UID is 1.2.3.99"),
            (other_patient, bytes, 0xC003, "Series Instance UID"),
        ):
            answer = send(link, ds, mangle)
            assert (hex(answer.Status), words in answer.ErrorComment) == (hex(status), True), answer
            assert "P2" not in answer.ErrorComment
        changed = pydicom.Dataset(first)
        changed.file_meta = first.file_meta
        changed.PixelData = bytes(2048)
        answer = send(link, changed)
        assert (answer.Status, "SOP Instance UID" in answer.ErrorComment) == (0xC002, True)
        assert send(link, good).Status == 0
        assert send(link, moved).Status == 0
    (done,) = node.wait(1)
    assert len(done.instances) == 3
    assert not list((node.archive.root / "incoming").iterdir())


def test_several_senders_at_once(receiver):
    node = receiver()
    many = [make_series(15) for _ in range(4)]
    answers: list[int] = []

    def one(series: list[pydicom.Dataset]) -> None:
        with association(node.port, series) as link:
            answers.extend(send(link, ds).Status for ds in series)

    # Each series by two senders at a time: every instance is stored once.
    threads = [threading.Thread(target=one, args=(series,)) for series in many for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [0] * 120
    done = node.wait(4)
    assert sorted(len(series.instances) for series in done) == [15] * 4
    assert len(list(Path(node.archive.root).rglob("*.dcm"))) == 60
    node.nothing_more(0.6)

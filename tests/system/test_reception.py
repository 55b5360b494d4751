"""A whole node at its port: when it opens, whom it serves beside whom, and what does not stop a sender."""

from __future__ import annotations

import signal
import socket
import struct
import time
from pathlib import Path

import pydicom
import pytest
import requests

from tests.hostile import wire
from tests.receive.receiving import make_slice
from tests.receive.sending import echoscu, encode
from tests.system.made_series import write_ct
from tests.system.node_process import SENDER, NodeProcess
from tests.system.peers.dcmtk import storescu
from tests.system.peers.orthanc import Orthanc
from tests.system.peers.ports import free_port
from voxtell_dicom.config import Config
from voxtell_dicom.errors import ConfigError
from voxtell_dicom.node import Node

PRIVATE = "1.3.12.2.1107.5.9.1"


def private_among(files: list[Path], folder: Path) -> list[Path]:
    """Return the files of a series with an instance of a private class in their midst."""
    ds = pydicom.dcmread(files[0])
    del ds.PixelData, ds.Rows, ds.Columns
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = PRIVATE
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{ds.SeriesInstanceUID}.77"[-64:].lstrip(".")
    folder.mkdir()
    ds.save_as(folder / "private.dcm", enforce_file_format=True)
    return [*files[:4], folder / "private.dcm", *files[4:]]


def test_a_study_with_a_private_class_comes_whole_from_orthanc(tmp_path: Path) -> None:
    port = free_port()
    with Orthanc(tmp_path / "orthanc", modalities={"node": ("VOXTELL", port)}) as orthanc:
        peers = {"pacs": orthanc.dimse_settings}
        with NodeProcess(tmp_path / "node", peers=peers, port=port) as node:
            files = private_among(write_ct(tmp_path / "ct"), tmp_path / "private")
            for path in files:
                orthanc.upload(path)
            study = str(pydicom.dcmread(files[0]).StudyInstanceUID)
            answer = requests.post(
                f"{orthanc.url}/modalities/node/store", json=orthanc.instances(study), timeout=60
            ).json()
            assert (answer["FailedInstancesCount"], answer["InstancesCount"]) == (0, 11)
            orthanc.wait_for(1, study_uid=study)
            node.wait_for_jobs("delivered")
            assert PRIVATE in node.log()


def test_a_port_that_is_taken_is_said_before_the_model_is_loaded(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        rule = {"name": "x", "when": {"Modality": "CT"}, "prompts": ["no such prompt"], "send_to": ["out"]}
        peers = {"out": {"folder": str(tmp_path / "out")}}
        node = NodeProcess(tmp_path / "node", peers=peers, rules=[rule], engine="phantom", port=taken.getsockname()[1])
        done = node.cli("serve", check=False)
    assert done.returncode != 0
    words = " ".join(done.stderr.split())
    assert f"cannot listen on 127.0.0.1:{node.port} (node.dimse)" in words  # not the prompt, which the model knows
    assert "Traceback" not in done.stderr


def test_the_port_is_open_before_recovered_work_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What hangs the durable engine, as a pattern once did, must not keep callers out."""
    storage, port = tmp_path / "data", free_port()
    node = {"dimse": {"host": "127.0.0.1", "port": port}, "storage": str(storage)}
    peers = {"ct": {"ae_title": "CT1"}}
    config = Config.model_validate({"version": 1, "node": node, "model": {"engine": "threshold"}, "peers": peers})
    answers: list[int] = []

    def launch(*_: object) -> None:
        answers.append(echoscu(port).returncode)
        raise ConfigError("as far as this")

    monkeypatch.setattr("voxtell_dicom.workflow.pipeline.launch", launch)
    with pytest.raises(ConfigError, match="as far as this"):
        Node(config).start()
    assert answers == [0]
    assert echoscu(port).returncode != 0, "a start that failed leaves nothing that listens"


RULE = {"name": "bright", "when": {"Modality": "CT"}, "prompts": ["> 300"], "send_to": ["out"]}
LINGER = struct.pack("ii", 1, 0)


def by_abort(link: socket.socket) -> None:
    link.sendall(wire.ABORT)
    link.close()


def by_reset(link: socket.socket) -> None:
    """As the kernel ends the connections of a killed process with unread data."""
    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
    link.close()


def by_silence(link: socket.socket) -> None:
    """Until the node ends it."""
    assert wire.read_pdu(link)[0] == wire.ABORTED
    link.close()


def test_a_whole_series_is_delivered_however_its_association_ends(tmp_path: Path) -> None:
    receive = {"incomplete_s": 2, "bounds": {"idle_s": 1}}
    peers = {"out": {"folder": str(tmp_path / "out")}}
    with NodeProcess(tmp_path / "node", peers=peers, rules=[RULE], receive=receive) as node:
        for end in (by_abort, by_reset, by_silence):
            link = wire.connect(node.port, wire.request(calling=SENDER.encode().ljust(16)))
            assert wire.read_pdu(link)[0] == wire.ACCEPTED
            for path in write_ct(tmp_path / end.__name__, slices=6):
                ds, data = pydicom.dcmread(path, stop_before_pixels=True), path.read_bytes()
                start = 144 + int.from_bytes(data[140:144], "little")
                link.sendall(wire.store(data[start:], ds.SOPInstanceUID))
                assert wire.status(wire.read_pdu(link)[1]) == 0
            end(link)
        node.wait_for_jobs("delivered", "delivered", "delivered")
        assert node.log().count("association lost") == 3


def test_a_signal_ends_the_node_in_time_beside_silent_callers(tmp_path: Path) -> None:
    receive = {"drain_s": 1}
    with NodeProcess(tmp_path / "node", peers={}, rules=[], receive=receive) as node:
        said = [[], [b"\x01"], [wire.request()[:40]], [wire.request(calling=SENDER.encode().ljust(16)), b"\x04\0\0"]]
        links = [wire.connect(node.port, *said[number % 4]) for number in range(60)]
        process = node._process
        assert process is not None
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert time.monotonic() - began < 30
        for link in links:
            link.close()
    assert "Traceback" not in node.log()


def test_a_good_series_is_not_behind_those_of_a_caller_that_sends_many(tmp_path: Path) -> None:
    peers = {"out": {"folder": str(tmp_path / "out")}, "junk": {"ae_title": "JUNK"}}
    rule = {**RULE, "receipt": "never"}
    with NodeProcess(tmp_path / "node", peers=peers, rules=[rule], receive={"quiet_s": 2}) as node:
        files = write_ct(tmp_path / "ct", slices=5)
        with wire.connect(node.port, wire.request(calling=b"JUNK".ljust(16))) as link:
            assert wire.read_pdu(link)[0] == wire.ACCEPTED
            for number in range(60):
                ds = make_slice(f"1.2.3.{number}", 1)
                link.sendall(wire.store(encode(ds), ds.SOPInstanceUID))
                assert wire.status(wire.read_pdu(link)[1]) == 0
            link.sendall(wire.RELEASE)
        storescu(files, node.port)
        good = str(pydicom.dcmread(files[0]).SeriesInstanceUID)
        node.wait(lambda: (good, "delivered") in [(job["series_uid"], job["state"]) for job in node.jobs()], what="it")
        place = [job["series_uid"] for job in node.jobs()].index(good)
        assert place < 40, place

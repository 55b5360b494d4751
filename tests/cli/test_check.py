"""`check` asks real peers: Orthanc by C-ECHO and QIDO-RS, a folder, and peers that refuse or are not there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from typer.testing import CliRunner, Result

from tests.json_page import assert_documented
from tests.system.peers.orthanc import Orthanc
from tests.system.peers.ports import free_port
from tests.system.peers.scripted_scp import ScriptedScp
from voxtell_dicom.cli import app

Peers = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with Orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


def check(tmp_path: Path, peers: Peers, *flags: str, model: str = '{"engine": "threshold"}') -> Result:
    path = tmp_path / "node.yaml"
    path.write_text(f"version: 1\nnode: {{ae_title: VOXTELL}}\nmodel: {model}\npeers: {json.dumps(peers)}\n")
    return CliRunner().invoke(app, ["check", "-c", str(path), *flags])


def states(done: Result) -> dict[str, tuple[str, str]]:
    report = assert_documented("voxtell-dicom check", done.stdout)
    return {each["peer"]: (each["state"], each["message"]) for each in report["checks"]}


def test_peers_that_answer(tmp_path: Path, orthanc: Orthanc) -> None:
    folder = {"folder": str(tmp_path / "results")}
    peers = {"dimse": orthanc.dimse_settings, "web": orthanc.web_settings, "folder": folder, "ct": {"ae_title": "CT1"}}
    done = check(tmp_path, peers, "--json")
    assert done.exit_code == 0, done.output
    found = {name: state for name, (state, _) in states(done).items()}
    assert found == {"model": "ok", "storage": "ok", "dimse": "ok", "web": "ok", "folder": "ok", "ct": "skipped"}
    table = check(tmp_path, peers).stdout
    assert "C-ECHO" in table
    assert "QIDO-RS" in table


def test_peers_that_do_not(tmp_path: Path, orthanc: Orthanc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_TOKEN", raising=False)
    (tmp_path / "file").write_text("")
    here = {"ae_title": "X", "host": "127.0.0.1"}
    peers: Peers = {
        "silent": {**here, "port": free_port()},
        "nowhere": {"ae_title": "X", "host": "no-such-host.invalid", "port": 104},
        "web_silent": {"dicomweb": f"http://127.0.0.1:{free_port()}/dicom-web"},
        "web_wrong": {"dicomweb": f"{orthanc.url}/no-dicom-web"},
        "web_secret": {"dicomweb": orthanc.dicomweb, "token_env": "NO_SUCH_TOKEN"},
        "folder": {"folder": str(tmp_path / "file")},
    }
    done = check(tmp_path, peers, "--json")
    assert done.exit_code == 1
    found = states(done)
    assert {name for name, (state, _) in found.items() if state == "failed"} == set(peers)
    assert "no connection" in found["silent"][1]
    assert "no connection" in found["nowhere"][1]
    assert "no connection" in found["web_silent"][1]
    assert "is this the DICOMweb root?" in found["web_wrong"][1]
    assert "NO_SUCH_TOKEN is not set" in found["web_secret"][1]
    assert "cannot be written" in found["folder"][1]


def test_a_peer_that_refuses_us_says_why(tmp_path: Path) -> None:
    with ScriptedScp(["reject permanent"]) as peer:
        settings = {"ae_title": peer.ae_title, "host": "127.0.0.1", "port": peer.port}
        done = check(tmp_path, {"pacs": settings}, "--json")
    assert done.exit_code == 1
    assert "does the peer know the AE title VOXTELL?" in states(done)["pacs"][1]


@pytest.mark.parametrize(("prompt", "state"), [("> 300", "ok"), ("liver", "failed")])
def test_prompts_that_the_engine_cannot_run(tmp_path: Path, prompt: str, state: str) -> None:
    path = tmp_path / "node.yaml"
    rules = json.dumps([{"name": "r", "when": {"Modality": "CT"}, "prompts": [prompt]}])
    path.write_text(f"version: 1\nmodel: {{engine: threshold}}\nrules: {rules}\n")
    done = CliRunner().invoke(app, ["check", "-c", str(path), "--load-model", "--json"])
    assert done.exit_code == (1 if state == "failed" else 0), done.output
    found, message = states(done)["prompts"]
    assert found == state
    assert (prompt in message) == (state == "failed")


def test_the_shipped_model_can_run_the_shipped_prompts() -> None:
    shipped = Path(__file__).parents[2] / "config/node.yaml"
    done = CliRunner().invoke(app, ["check", "-c", str(shipped), "--load-model", "--json"])
    assert states(done)["prompts"] == ("ok", "can run all 9"), done.output
    assert states(done)["CT organs"] == ("ok", "experimental, findings rather than anatomy: liver lesion")


def test_model_that_is_not_there(tmp_path: Path) -> None:
    done = check(tmp_path, {}, "--json", model=json.dumps({"directory": str(tmp_path)}))
    assert done.exit_code == 1
    assert states(done)["model"] == ("failed", "there is no plans.json in it")


def test_wrong_file(tmp_path: Path) -> None:
    done = check(tmp_path, {"pacs": {"ae_titel": "X"}}, "--json")
    assert done.exit_code == 2
    assert not done.stdout
    assert "did you mean 'ae_title'?" in done.stderr


def test_test_seg_arrives_marked_and_new_each_time(tmp_path: Path, orthanc: Orthanc) -> None:
    peers = {"dimse": orthanc.dimse_settings, "web": orthanc.web_settings, "ct": {"ae_title": "CT1"}}
    uids = set()
    for name in ("dimse", "web", "dimse"):
        done = check(tmp_path, peers, "--send-test-seg", name, "--json")
        assert done.exit_code == 0, done.output
        report = assert_documented("voxtell-dicom check", done.stdout)
        (sent,) = [each for each in report["checks"] if each["kind"] == "test SEG"]
        assert (sent["peer"], sent["state"]) == (name, "ok")
        uids.add(sent["address"])
    stored = [pydicom.dcmread(BytesIO(orthanc.download(each))) for each in orthanc.wait_for(3, modality="SEG")]
    assert {each.SOPInstanceUID for each in stored} == uids
    for each in stored:
        assert "TEST - NOT FOR PATIENTS" in each.SeriesDescription
    wrong = check(tmp_path, peers, "--send-test-seg", "ct")
    assert wrong.exit_code == 2
    assert "those are: dimse, web" in wrong.stderr


def test_test_seg_that_is_refused(tmp_path: Path) -> None:
    with ScriptedScp([0xC000]) as peer:
        settings = {"ae_title": peer.ae_title, "host": "127.0.0.1", "port": peer.port}
        done = check(tmp_path, {"pacs": settings}, "--send-test-seg", "pacs", "--json")
    assert done.exit_code == 1
    report = assert_documented("voxtell-dicom check", done.stdout)
    assert [(each["kind"], each["state"]) for each in report["checks"][2:]] == [
        ("C-ECHO", "ok"),
        ("test SEG", "failed"),
    ]
    assert "C000" in report["checks"][-1]["message"]


@pytest.mark.parametrize("weights", ["model.safetensors", "fold_0/checkpoint_final.pth"])
def test_an_imported_model_and_an_official_one_are_right(tmp_path: Path, weights: str) -> None:
    model = tmp_path / "model"
    (model / weights).parent.mkdir(parents=True)
    (model / "plans.json").write_text("{}")
    assert found_with(tmp_path, f"model: {{directory: {model}}}")["model"] == (
        "failed",
        "there is neither model.safetensors nor fold_0/checkpoint_final.pth in it",
    )
    (model / weights).write_bytes(b"")
    assert found_with(tmp_path, f"model: {{directory: {model}}}")["model"] == ("ok", "is there")


def test_a_storage_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    text = f"model: {{engine: threshold}}\nnode: {{storage: {tmp_path}/file/data}}"
    assert found_with(tmp_path, text)["storage"] == ("failed", f"cannot be made: {tmp_path}/file is no folder")
    result = CliRunner().invoke(app, ["serve", "-c", str(tmp_path / "node.yaml")])
    assert result.exit_code == 2
    assert f"the storage folder {tmp_path}/file/data (node.storage) cannot be written: Not a directory" in result.output
    state, message = found_with(tmp_path, "model: {engine: threshold}")["storage"]
    assert (state, message.split(" ", 1)[1]) == ("ok", "GB free")
    assert not (tmp_path / "data").exists(), "check makes nothing"


def found_with(folder: Path, text: str) -> dict[str, tuple[str, str]]:
    (folder / "node.yaml").write_text(f"version: 1\n{text}\n")
    result = CliRunner().invoke(app, ["check", "--json", "-c", str(folder / "node.yaml")])
    return {each["peer"]: (each["state"], each["message"]) for each in json.loads(result.stdout)["checks"]}

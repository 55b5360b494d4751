"""What starts and watches a node: its log level, its exit codes for systemd, its health check for Docker."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from pathlib import Path

import pytest

from tests.system.node_process import PROGRAM, NodeProcess
from tests.system.peers.ports import free_port
from tests.test_repository import ROOT, last_stage, unit

ENVIRONMENT = dict(re.findall(r"(\w+)=(\S+)", last_stage()["ENV"]))


def health(config: Path) -> subprocess.CompletedProcess[str]:
    """Run the command of the Dockerfile's HEALTHCHECK as it stands, with the image's variable naming another file."""
    command = json.loads(last_stage()["HEALTHCHECK"].partition(" CMD ")[2])
    assert "VOXTELL_DICOM_CONFIG" in ENVIRONMENT
    variables = os.environ | {
        "VOXTELL_DICOM_CONFIG": str(config),
        "PATH": f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}",
    }
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120, cwd="/")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> NodeProcess:
    return NodeProcess(tmp_path_factory.mktemp("node"), peers={"pacs": {"folder": "out"}})


def test_health_of_a_node_that_runs_and_of_none(node: NodeProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXTELL_DICOM_LOG_LEVEL", "warning")
    done = health(node.yaml)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"voxtell-dicom: VOXTELL@127.0.0.1:{node.port} does not answer")
    node.start(wait=False)
    try:
        node.wait(lambda: health(node.yaml).returncode == 0, what="the node to be healthy", timeout_s=120)
        done = health(node.yaml)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"VOXTELL@127.0.0.1:{node.port} answers\n"
        assert "rejected" not in node.log(), "a look leaves no warning in the log"
        assert "node ready" not in node.log(), "not at level warning"
    finally:
        node.kill()


def test_health_of_something_else_on_the_port(node: NodeProcess) -> None:
    """A program that takes connections and says nothing is no healthy node."""
    with socket.socket() as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        silent.bind(("127.0.0.1", node.port))
        silent.listen()
        assert health(node.yaml).returncode == 1


def test_health_of_a_wrong_file(tmp_path: Path) -> None:
    done = health(tmp_path / "absent.yaml")
    assert (done.returncode, "cannot be read" in done.stderr) == (2, True)


def test_the_image_knows_time_zones_and_one_node_yaml() -> None:
    stage = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    assert re.search(r"apt-get install [^&]*\btzdata\b", stage)
    assert json.loads(last_stage()["CMD"])[-1] == ENVIRONMENT["VOXTELL_DICOM_CONFIG"]


def serve(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `serve` to its end, which a wrong setting brings."""
    command = [PROGRAM, "serve", *words]
    return subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, timeout=120)


def test_unit_does_not_start_again_what_cannot_start(tmp_path: Path) -> None:
    """Exit code 2, a wrong node.yaml, is the one that systemd does not answer by a new start."""
    path = tmp_path / "node.yaml"
    path.write_text("version: 1\nmodle: {}\n")
    assert dict(unit())["RestartPreventExitStatus"] == str(serve("-c", str(path)).returncode) == "2"


def test_unit_starts_again_where_the_port_is_taken(tmp_path: Path) -> None:
    """At boot an address may come later than the node."""
    node = NodeProcess(tmp_path, peers={}, rules=(), port=free_port())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", node.port))
        taken.listen()
        done = serve("-c", str(node.yaml))
    assert done.returncode == 1, done.stderr
    assert f"cannot listen on 127.0.0.1:{node.port} (node.dimse)" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("variables", [{}, {"VOXTELL_DICOM_LOG_LEVEL": "verbose"}], ids=["option", "variable"])
def test_a_log_level_that_is_none(variables: dict[str, str], tmp_path: Path) -> None:
    words = () if variables else ("--log-level", "verbose")
    done = serve("-c", str(tmp_path / "node.yaml"), *words, **variables)
    assert done.returncode == 2
    assert re.search(r"debug.*info.*warning.*error", done.stderr, re.DOTALL)

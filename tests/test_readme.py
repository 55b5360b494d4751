"""The README is run as it is written: its `sh` blocks, top to bottom, in a folder that looks like the repository.

The two `make` commands are what `.ci/run` runs. `serve` runs in the background, as in a second terminal, until the end;
the PACS that the shipped node.yaml names is a real Orthanc on that very port.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import pytest
import yaml

from tests.system.peers.orthanc import Orthanc
from tests.system.peers.ports import wait_for_port
from voxtell_dicom.cli import COMMANDS
from voxtell_dicom.rules import load_config

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of the README: its language, the line of its first command, its text."""

    language: str
    line: int
    text: str

    @property
    def commands(self) -> list[str]:
        return [line for line in self.text.splitlines() if line.strip()]


README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [Block(found[1], README[: found.start(2)].count("\n") + 1, found[2]) for found in FENCE.finditer(README)]
SHELL = [block for block in BLOCKS if block.language == "sh"]
MAKE = [block for block in SHELL if block.text.startswith("make ")]
(TEN_LINES,) = (block for block in SHELL if "\nOrthanc " in block.text)
TYPED = [block for block in SHELL if block not in (*MAKE, TEN_LINES)]


class Terminal:
    """A shell that remembers its variables from one block to the next, and the node that one block starts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.node: subprocess.Popen[bytes] | None = None
        self.log = folder / "serve.log"
        self._state = folder / "shell.state"
        self._state.touch()

    def type(self, block: Block) -> str:
        """Run a block as written; returns what it printed. Fails the test where a command fails."""
        if "voxtell-dicom serve" in block.text:
            return self._serve(block)
        if "jobs show" in block.text:
            self._wait_for_delivery()
        script = f"set -a; . {self._state}; set -eu -o pipefail\n{block.text}\ndeclare -px > {self._state}\n"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=280,
        )
        said = f"{done.stdout}\n{done.stderr}\n{self.tail()}"
        assert done.returncode == 0, f"README.md:{block.line}\n{block.text}\n{said}"
        return done.stdout

    def tail(self) -> str:
        """The end of the node's log."""
        return self.log.read_text()[-4000:] if self.log.exists() else ""

    def close(self) -> int | None:
        """Stop the node as systemd does; its exit code, None where there was none."""
        if self.node is None:
            return None
        self.node.terminate()
        try:
            return self.node.wait(60)
        except subprocess.TimeoutExpired:
            self.node.kill()
            return self.node.wait()
        finally:
            self.node = None

    def _serve(self, block: Block) -> str:
        (command,) = block.commands
        with self.log.open("wb") as log:
            # exec: the process that is stopped later is the node itself
            self.node = subprocess.Popen(
                ["bash", "-c", f"set -a; . {self._state}; exec {command}"],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_for_port(SHIPPED["node"]["dimse"]["port"], timeout_s=60)
        except TimeoutError:
            pytest.fail(f"README.md:{block.line} {command}: no node\n{self.tail()}")
        return ""

    def _wait_for_delivery(self) -> None:
        """Wait for a delivery, as the README's reader does by looking again."""
        wait = Block("sh", 0, "voxtell-dicom jobs list --json")
        end = time.monotonic() + 180
        while time.monotonic() < end:
            jobs = json.loads(self.type(wait))
            if any(job["state"] == "delivered" for job in jobs):
                return
            time.sleep(1)
        pytest.fail(f"no job was delivered: {jobs}\n{self.tail()}")


SHIPPED: dict[str, Any] = yaml.safe_load((ROOT / "config" / "node.yaml").read_text(encoding="utf-8"))


class Prompt:
    """A shell in which lines are typed one after the other; what they leave running ends with it."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "terminal.log"
        output = self.log.open("wb")
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        self._shell = subprocess.Popen(
            ["bash"], cwd=folder, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, env=environment,
            start_new_session=True,
        )  # fmt: skip
        self._typed = 0

    def type(self, line: str, timeout_s: float = 120) -> str:
        """Type a line, wait until the shell asks for the next; return what was printed meanwhile. It must succeed."""
        assert self._shell.stdin is not None
        before, self._typed = len(self.log.read_text()), self._typed + 1
        end = f"end of line {self._typed}: "
        self._shell.stdin.write(f"{line}\necho '{end}'$?\n".encode())
        self._shell.stdin.flush()
        wait_for(lambda: re.search(rf"^{end}\d+$", self.log.read_text(), re.MULTILINE), f"the end of {line}", timeout_s)
        said = self.log.read_text()[before:]
        assert f"{end}0" in said, f"README.md: {line}\n{said}"
        return said

    def close(self) -> None:
        """Stop the shell, and what runs in its background, as the end of a session does."""
        os.killpg(self._shell.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._shell.wait(1)
        self._shell.kill()
        self._shell.wait()


def wait_for(condition: Callable[[], object], what: str, timeout_s: float = 120) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"no {what} within {timeout_s:g} s"
        time.sleep(0.2)


def test_the_ten_lines_end_with_a_segmentation_in_orthanc(tmp_path: Path) -> None:
    """Before the other tests of this file: Orthanc and the node take the ports that those take, too."""
    shutil.copytree(ROOT / "config" / "examples", tmp_path / "config" / "examples")
    prompt = Prompt(tmp_path)
    try:
        for line in TEN_LINES.commands:
            if "jobs show" in line:
                look = TEN_LINES.commands[-2]
                wait_for(lambda: re.search(r"^ *delivered", prompt.type(look), re.MULTILINE), "delivery")  # noqa: B023
            prompt.type(line)
            if line.startswith("Orthanc"):
                wait_for_port(4242, timeout_s=60)
                wait_for_port(8042, timeout_s=60)
            elif "serve" in line:
                wait_for_port(11112, timeout_s=60)
        source = pydicom.dcmread(next((tmp_path / "patient" / "series").iterdir()), stop_before_pixels=True)
        with urllib.request.urlopen("http://127.0.0.1:8042/studies?expand") as response:
            studies = {study["MainDicomTags"]["StudyInstanceUID"]: study["ID"] for study in json.load(response)}
        study = studies[source.StudyInstanceUID]
        with urllib.request.urlopen(f"http://127.0.0.1:8042/studies/{study}/series") as response:
            series = [one["MainDicomTags"] for one in json.load(response)]
        assert sorted(one["Modality"] for one in series) == ["CT", "SEG"]
    finally:
        prompt.close()
    wait_for(lambda: not any(is_open(port) for port in (4242, 8042, 11112)), "end of Orthanc and the node")


def is_open(port: int) -> bool:
    """Return whether somebody listens on a port of this machine."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with Orthanc(tmp_path_factory.mktemp("orthanc"), dicom_port=SHIPPED["peers"]["pacs"]["port"]) as orthanc:
        yield orthanc


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory, pacs: Orthanc) -> Iterator[Terminal]:
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "config", folder / "config")
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "voxtell_dicom").symlink_to(ROOT / "voxtell_dicom")
    terminal = Terminal(folder)
    yield terminal
    terminal.close()


@pytest.mark.parametrize("block", TYPED, ids=lambda block: f"line {block.line}")
def test_block_runs_as_written(terminal: Terminal, block: Block) -> None:
    terminal.type(block)


def test_it_all_came_to_a_segmentation_in_the_pacs(terminal: Terminal, pacs: Orthanc) -> None:
    """After the blocks above: the phantom's study holds the SEG that `jobs show` named, and the node stops cleanly."""
    source = pydicom.dcmread(next((terminal.folder / "patient" / "series").iterdir()), stop_before_pixels=True)
    results = pacs.series(study_uid=source.StudyInstanceUID, modality="SEG")
    assert any("TEST - NOT FOR PATIENTS" in item["MainDicomTags"]["SeriesDescription"] for item in results)
    assert terminal.close() == 0, terminal.tail()


def test_the_two_commands_are_what_ci_runs() -> None:
    (block,) = MAKE
    commands = [shlex.split(line, comments=True) for line in block.commands]
    assert commands == [["make", "demo"], ["make", "test"]]
    assert {"make demo", "make test"} <= set((ROOT / ".ci" / "run").read_text().splitlines())


def test_every_command_line_is_run() -> None:
    """No other kind of block hides a command of ours."""
    others = [block for block in BLOCKS if block.language not in ("sh", "mermaid", "yaml")]
    assert not others


def test_every_command_is_shown() -> None:
    typed = "\n".join(block.text for block in TYPED)
    package = ROOT / "voxtell_dicom" / "cli"
    there = [name for name in COMMANDS if (package / f"{name}.py").exists() or (package / name).is_dir()]
    assert [name for name in there if f"voxtell-dicom {name}" not in typed] == []
    assert [name for name in ("list", "show", "retry", "rerun") if f"voxtell-dicom jobs {name}" not in typed] == []


def test_the_excerpt_of_node_yaml_is_right(tmp_path: Path) -> None:
    (excerpt,) = [yaml.safe_load(block.text) for block in BLOCKS if block.language == "yaml"]
    path = tmp_path / "node.yaml"
    path.write_text(yaml.safe_dump({**SHIPPED, **excerpt}))
    assert load_config(path).rules[0].name == "abdomen CT"


def test_first_screen() -> None:
    """What it is, one picture, the two commands, ten lines for a real PACS: in that order, near the top."""
    order = ["# voxtell-dicom", "not a medical device", "```mermaid", "make demo", "## A real PACS in ten lines"]
    places = [README.lower().index(word.lower()) for word in order]
    assert places == sorted(places)
    assert TEN_LINES.text in README.split("## A real PACS in ten lines")[1]
    ten = README.split("## A real PACS in ten lines")[1].split("\n## ")[0]
    assert len(TEN_LINES.commands) == 10
    assert "1024" in ten
    assert "irewall" in ten
    assert "CC BY-NC-SA 4.0" in README

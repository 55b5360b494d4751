"""Every line of the log, the libraries' too, has the shape that was asked for."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

SCRIPT = """
import logging, sys, structlog
from voxtell_dicom.observe.logs import configure_logs
configure_logs(json=sys.argv[1] == "json")
structlog.get_logger().info("node ready", port=11112)
logging.getLogger("pynetdicom.transport").error("cannot connect to %s", "PACS")
logging.getLogger("pynetdicom.transport").warning("an identifier that may name the patient")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("dbos").exception("step failed")
"""


LEVELS = """
import logging, sys, structlog
from voxtell_dicom.observe.logs import configure_logs
configure_logs(level=logging.getLevelNamesMapping()[sys.argv[1].upper()])
ours, theirs = logging.getLogger("voxtell_dicom.deliver.dimse"), logging.getLogger("pydicom")
for word in ("debug", "info", "warning", "error"):
    getattr(structlog.get_logger(), word)(f"first {word}")
    getattr(ours, word)(f"second {word}")
    getattr(theirs, word)(f"library {word}")
"""


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_level(level: str) -> None:
    """Both ways in which parts of ours log obey it; what libraries say below an error is never shown."""
    done = subprocess.run([sys.executable, "-c", LEVELS, level], capture_output=True, text=True, check=True)
    words = ["debug", "info", "warning", "error"]
    shown = words[words.index(level) :]
    expected = [f"{part} {word}" for word in shown for part in ("first", "second")] + ["library error"]
    assert re.findall(r"(?:first|second|library) \w+", done.stderr) == expected


def run(shape: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", SCRIPT, shape], capture_output=True, text=True, check=True)
    assert done.stdout == "", "standard output belongs to the commands' answers"
    return done.stderr.splitlines()


def test_json_lines() -> None:
    lines = [json.loads(line) for line in run("json")]
    assert [(line["level"], line["event"]) for line in lines] == [
        ("info", "node ready"),
        ("error", "cannot connect to PACS"),
        ("error", "step failed"),
    ]
    assert lines[0]["port"] == 11112
    assert lines[1]["logger"] == "pynetdicom.transport"
    assert "ZeroDivisionError" in lines[2]["exception"]
    assert all("timestamp" in line for line in lines)


def test_plain_lines() -> None:
    text = "\n".join(run("plain"))
    for words in ("node ready", "port=11112", "cannot connect to PACS", "pynetdicom.transport", "ZeroDivisionError"):
        assert words in text
    assert "name the patient" not in text
    assert "\x1b[" not in text, "colours only on a terminal"


FORGING = """
import logging, sys, structlog
from voxtell_dicom.observe.logs import configure_logs
configure_logs(json=sys.argv[1] == "json")
evil = "EVIL\\n2026-01-01 [info     ] node ready\\r\\x1b[2J\\x9b\\u2028\\u202e\\x00end"
log = structlog.get_logger()
many = [evil, {"title": evil}]
log.warning("association rejected", calling_ae=evil, many=many, text=evil.encode(), error=OSError(evil))
log.warning(evil)
logging.getLogger("pynetdicom.association").error("from %s", evil)
try:
    raise ValueError(evil)
except ValueError:
    log.exception("failed", uid=evil)
"""


@pytest.mark.parametrize("form", ["json", "plain"])
def test_what_a_peer_sends_forges_no_line(form: str) -> None:
    done = subprocess.run([sys.executable, "-c", FORGING, form], capture_output=True, text=True, check=True)
    lines = done.stderr.rstrip("\n").split("\n")
    assert not [char for char in done.stderr if not char.isprintable() and char != "\n"]
    assert not [line for line in lines if line.lstrip().startswith("2026-01-01 [") and not line.startswith("    ")]
    entries = [line for line in lines if not line.startswith("    ")]
    assert len(entries) == 4
    assert all("EVIL" in line and "x1b[2J" in line for line in entries)

"""The demo as a person runs it: one JSON object, every structure found, a picture and a SEG left behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pydicom

from tests.json_page import assert_documented
from voxtell_dicom.cli.demo import MINIMUM_DICE, PROMPTS

PROGRAM = Path(sys.executable).with_name("voxtell-dicom")


def test_demo_finds_every_structure_and_leaves_a_picture_and_a_seg(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = subprocess.run([PROGRAM, "demo", "--json", "--seed", "3", "-o", out], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_documented("voxtell-dicom demo", done.stdout)
    report = json.loads(done.stdout)
    assert [row["label"] for row in report["segments"]] == list(PROMPTS)
    assert min(row["dice"] for row in report["segments"]) >= MINIMUM_DICE
    assert Path(report["overlay"]).read_bytes().startswith(b"\x89PNG")
    seg = pydicom.dcmread(report["seg"])
    assert seg.Modality == "SEG"
    assert len(seg.SegmentSequence) == len(PROMPTS)
    assert all("TEST - NOT FOR PATIENTS" in item.SegmentLabel for item in seg.SegmentSequence)
    assert {"process", "segment", "encode"} <= set(report["seconds"])


def test_demo_fails_where_a_structure_lies_on_the_wrong_side(tmp_path: Path) -> None:
    """The same program, told that the left kidney is where the right one is, must not be content."""
    script = (
        "import sys; from voxtell_dicom.cli import app, demo\n"
        "demo.PROMPTS = {'liver': 'liver', 'left kidney': 'right kidney'}\n"
        f"sys.argv = ['voxtell-dicom', 'demo', '--seed', '3', '-o', {str(tmp_path)!r}]\n"
        "app()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Dice below 0.9 for: left kidney" in done.stderr

"""`benchmarks/volume.py` runs, all its ways agree on the values, and it prints what docs/json.md says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.json_page import assert_documented

SCRIPT = Path(__file__).parents[2] / "benchmarks/volume.py"


def test_volume_benchmark() -> None:
    command = [sys.executable, str(SCRIPT), "--slices", "12", "--repeat", "1", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = assert_documented("benchmarks", done.stdout)
    assert set(found["ratios"]) == {"imageseriesreader", "highdicom", "pydicom"}
    assert found["peak_in_volumes"]["ours"] > 0

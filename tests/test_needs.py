"""Without a program the tests that need it are deselected by name, and only these."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_without_programs_their_tests_are_deselected_by_name() -> None:
    """With no program on the PATH: what calls storescu goes, what calls none stays, and the output says which."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    files = ["tests/deliver/test_dcmtk.py", "tests/series/test_orientation.py"]
    environment = {**os.environ, "PATH": "/nonexistent"}
    done = subprocess.run([*command, *files], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "deselected, needs dcmtk: tests/deliver/test_dcmtk.py::test_it_stores_the_very_bytes" in done.stdout
    assert "\ntests/deliver/test_dcmtk.py::test_it_stores" not in done.stdout
    assert "tests/series/test_orientation.py::test_equals_nibabel" in done.stdout

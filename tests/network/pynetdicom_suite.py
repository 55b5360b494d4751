"""Run pynetdicom's own tests, which its package contains: with our loops no case may fail that passes with its own.

    make pynetdicom     # or: python -m tests.network.pynetdicom_suite [MODULE ...]

Takes some ten minutes on two quiet cores. The tests wait for fixed times, so on a busy machine some fail with either
loops: a case that fails is run again on its own, and counts only if it fails again.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pynetdicom

ROOT = Path(__file__).parents[2]
FOLDER = Path(pynetdicom.__file__).parent / "tests"
OUR_LOOPS = ("-p", "tests.network.our_loops_plugin")
MODULES = (
    "test_dul",
    "test_acse",
    "test_ae",
    "test_transport",
    "test_assoc",
    "test_assoc_n",
    "test_dimse_provider",
    "test_dimse_c",
    "test_service_storage",
    "test_service_verification",
)
_FAILED = re.compile(r"^(?:FAILED|ERROR) \S*?::(\S+)", re.MULTILINE)


def failures(module: str, *options: str) -> set[str]:
    """Return the names of the tests of a module that fail twice. Raises RuntimeError if pytest does not run."""
    failed = _run(module, [], options)
    return {name for name in failed if _run(module, [name], options)}


def _run(module: str, names: list[str], options: tuple[str, ...]) -> set[str]:
    path = FOLDER / f"{module}.py"
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "pytest.ini"  # not ours: its tests are not meant for our options
        settings.write_text("[pytest]\naddopts = -p no:cacheprovider\n")
        chosen = [f"{path}::{name}" for name in names] or [str(path)]
        command = [sys.executable, "-m", "pytest", "-q", "-rfE", "-c", str(settings), "--rootdir", str(FOLDER)]
        command += ["--timeout", "120", *options, *chosen]
        ports = {"PYTEST_XDIST_WORKER": f"pid{os.getpid()}"}  # without it, all runs use the same two ports
        done = subprocess.run(command, cwd=ROOT, env=os.environ | ports, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"pytest ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return set(_FAILED.findall(done.stdout))


def main() -> int:
    """Print what fails with which loops; return 1 if ours fail where pynetdicom's do not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", default=MODULES, metavar="MODULE")
    worse = False
    for module in parser.parse_args().modules:
        ours = failures(module, *OUR_LOOPS)
        plain = failures(module) if ours else set()  # only what fails with ours needs the comparison
        worse |= bool(ours - plain)
        print(
            f"{module}: with our loops fail {sorted(ours) or 'none'}; of these with its own {sorted(plain) or 'none'}"
        )
    return int(worse)


if __name__ == "__main__":
    sys.exit(main())

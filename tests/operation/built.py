"""Wheels for the tests: ours, built of the tracked files, and stand-ins for what it needs."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Sequence
from importlib.metadata import requires, version
from pathlib import Path

from tests.test_repository import ROOT, tracked

# A program in a namespace of its own: no network but loopback, which is what a machine without a cable has.
OFFLINE = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "offline")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_"))}
DEPENDENCIES = sysconfig.get_path("purelib")  # of the interpreter that runs the tests; its .pth files are not read


def build(folder: Path) -> tuple[Path, Path]:
    """Build sdist and wheel, the wheel of the sdist, in a copy of the tracked files; return their paths."""
    source = folder / "source"
    for path in tracked():
        target = source / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    command: list[str | Path] = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", source]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (sdist,), (wheel,) = (folder / "dist").glob("*.tar.gz"), (folder / "dist").glob("*.whl")
    return sdist, wheel


def bare_environment(folder: Path, wheel: Path) -> Path:
    """Make a virtual environment that has the wheel, and sees the dependencies of this one but not the clone."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    pip: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--no-index",
        "--no-deps",
        "-q",
        wheel,
    ]
    subprocess.run(pip, env=ENVIRONMENT, check=True)
    (site,) = (folder / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(f"{DEPENDENCIES}\n")
    return folder / "bin"


def run(command: Sequence[str | Path], cwd: Path, *, timeout_s: float = 280) -> subprocess.CompletedProcess[str]:
    """Run a program offline, without this test's environment variables."""
    return subprocess.run(
        [*OFFLINE, *command], env=ENVIRONMENT, cwd=cwd, capture_output=True, text=True, timeout=timeout_s, check=False
    )


def stand_ins(folder: Path) -> list[str]:
    """Write an empty wheel for each dependency, one of which leads to the real modules; return their names."""
    wanted = [
        line for line in requires("voxtell-dicom") or () if "extra ==" not in line or 'extra == "postgresql"' in line
    ]
    names = sorted({re.split(r"[^\w.-]", line)[0] for line in wanted})
    for name in names:
        files = {"dependencies.pth": f"{DEPENDENCIES}\n"} if name == "typer" else {}
        _empty_wheel(folder, name, version(name), files)
    return names


def _empty_wheel(folder: Path, name: str, number: str, files: dict[str, str]) -> None:
    stem = f"{re.sub(r'[-_.]+', '_', name)}-{number}"
    info = f"{stem}.dist-info"
    content = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\nProvides-Extra: binary\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        record = ""
        for path, text in content.items():
            wheel.writestr(path, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{path},sha256={digest},{len(text)}\n"
        wheel.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")

"""`voxtell-dicom version`: ours and those of what the results depend on, read from the installed metadata alone."""

from __future__ import annotations

import json
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

import voxtell_dicom
from voxtell_dicom import __version__

app = typer.Typer()

_PACKAGES = (
    "torch", "transformers", "nnunetv2", "numpy", "pydicom", "pynetdicom", "highdicom", "SimpleITK", "dbos",
    "python-gdcm", "pylibjpeg-openjpeg", "pyjpegls", "pillow",
)  # fmt: skip
_DRIVER = Path("/proc/driver/nvidia/version")


def versions() -> dict[str, str]:
    """Name → version of this package, of Python and of the packages that decide what a result holds."""
    found = {"voxtell-dicom": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    if driver := _driver():
        found["nvidia-driver"] = driver
    return found


def shared_files() -> Path:
    """Return the folder that has docs/, config/ and packaging/: part of an installed wheel, else the clone's own."""
    package = Path(voxtell_dicom.__file__).parent
    installed = package / "share"
    return installed if installed.is_dir() else package.parent


def _driver() -> str:
    """The version of NVIDIA's kernel module; "" where there is none."""
    try:
        match = re.search(r"\b(\d+\.\d+(?:\.\d+)?)\b", _DRIVER.read_text())
    except OSError:
        return ""
    return match.group(1) if match else ""


@app.command()
def show(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    files: Annotated[
        bool, typer.Option("--files", help="Print only the folder that has docs, config and packaging.")
    ] = False,
) -> None:
    """Print the versions of voxtell-dicom and of what its results depend on, and where docs and examples lie."""
    if files:
        typer.echo(shared_files())
        return
    found = versions()
    if as_json:
        typer.echo(json.dumps(found))
        return
    for name, number in found.items():
        typer.echo(f"{name} {number}")
    typer.echo(f"files {shared_files()}")

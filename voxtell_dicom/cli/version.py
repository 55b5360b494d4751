"""`voxtell-dicom version`: ours and those of what the results depend on, read from the installed metadata alone."""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from voxtell_dicom import __version__

app = typer.Typer()

_PACKAGES = ("torch", "pydicom", "pynetdicom", "highdicom", "SimpleITK", "nnunetv2", "dbos")


def versions() -> dict[str, str]:
    """Name → version of this package, of Python and of the packages that decide what a result holds."""
    found = {"voxtell-dicom": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


@app.command()
def show(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Print the versions of voxtell-dicom and of what its results depend on."""
    found = versions()
    if as_json:
        typer.echo(json.dumps(found))
        return
    for name, number in found.items():
        typer.echo(f"{name} {number}")

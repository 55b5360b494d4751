"""`voxtell-dicom phantom`: write a synthetic CT series, and the truth beside it."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


class PlaneName(StrEnum):
    """Acquisition planes."""

    axial = "axial"
    sagittal = "sagittal"
    coronal = "coronal"


@app.command()
def phantom(
    out: Annotated[Path, typer.Argument(help="Folder to write: series/*.dcm, and truth/ with --truth.")],
    seed: Annotated[int, typer.Option(min=0, help="Which torso: the same seed gives the same files.")] = 0,
    plane: Annotated[PlaneName, typer.Option(help="Acquisition plane.")] = PlaneName.axial,
    truth: Annotated[bool, typer.Option("--truth", help="Write truth/LABEL.nii.gz and truth.json too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (docs/json.md).")] = False,
) -> None:
    """Write a synthetic torso (nobody's anatomy) as a CT series that the bundled model can segment."""
    from voxtell_dicom.phantom import demo_acquisition, torso, write_series, write_truth

    series, anatomy, acquisition = out / "series", torso(seed), demo_acquisition(seed, plane.value)
    if series.is_dir() and any(series.iterdir()):
        typer.echo(f"voxtell-dicom: {series} is not empty: give another folder, or empty it", err=True)
        raise typer.Exit(2)
    try:
        files = write_series(anatomy, acquisition, series)
        truth_file = write_truth(anatomy, acquisition, out / "truth") if truth else None
    except OSError as error:
        typer.echo(f"voxtell-dicom: {out} cannot be written: {error.strerror or error}", err=True)
        raise typer.Exit(1) from None
    if as_json:
        report = {
            "series": str(series),
            "instances": len(files),
            "seed": seed,
            "plane": plane.value,
            "truth": str(truth_file) if truth_file else None,
        }
        typer.echo(json.dumps(report))
        return
    typer.echo(f"{series}: {len(files)} CT images, {plane.value}, seed {seed}")
    if truth_file:
        typer.echo(f"{truth_file.parent}: one NIfTI mask per label, and {truth_file.name}")

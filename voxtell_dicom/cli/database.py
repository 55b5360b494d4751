"""`voxtell-dicom database`: the node's database, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Look after the node's database.")


@app.callback()
def group() -> None:
    """Look after the node's database."""


@app.command()
def upgrade(
    config: Annotated[Path, typer.Option("--config", "-c", help="node.yaml of the node.")] = Path("config/node.yaml"),
) -> None:
    """Bring the database to the schema of this version. A node does it at its start, too."""
    from voxtell_dicom.archive.database import open_database
    from voxtell_dicom.cli.jobs import check_storage
    from voxtell_dicom.config import load_config
    from voxtell_dicom.jobs.migrations import HEAD, upgrade

    settings = load_config(config)
    check_storage(settings)
    before = upgrade(open_database(settings))
    typer.echo(f"schema {HEAD}" + ("" if before == HEAD else f", upgraded from {before or 'version 0.1'}"))

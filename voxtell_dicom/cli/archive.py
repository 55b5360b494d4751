"""`archive`: the index of what the node holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The index of what the node holds.", no_args_is_help=True)
ConfigPath = Annotated[Path, typer.Option("--config", "-c", help="Where node.yaml is.")]


@app.callback()
def main() -> None:
    """The index of what the node holds."""


@app.command()
def rebuild(config: ConfigPath = Path("node.yaml")) -> None:
    """Complete the index from the stored objects, while the node is stopped. What no job knows is worked on again."""
    from voxtell_dicom.archive.archive import Archive
    from voxtell_dicom.archive.database import open_database
    from voxtell_dicom.config import load_config

    settings = load_config(config)
    archive = Archive(settings.node.storage / "spool", open_database(settings), settings.receive)
    try:
        inserted = archive.complete()
        typer.echo(f"The index holds {archive.count()} instances, {archive.opened_with + inserted} of them new to it.")
    finally:
        archive.close()

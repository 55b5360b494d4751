"""`voxtell-dicom look`: a segmentation drawn on its source."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def look(
    seg: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A DICOM segmentation.")],
    source: Annotated[
        Path | None,
        typer.Argument(
            exists=True, file_okay=False, help="Folder with its source images.  [default: the SEG's folder]"
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The picture to write (PNG).")] = Path("picture.png"),
) -> None:
    """Draw slices in three planes with the contours of each segment and a legend."""
    from voxtell_dicom.encode.capture.picture import picture

    typer.echo(str(picture(seg, source, out)))

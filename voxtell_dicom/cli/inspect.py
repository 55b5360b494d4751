"""`voxtell-dicom inspect`: what the node sees in a folder: series, volumes, and why the rest is not processed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from voxtell_dicom.config import Config
    from voxtell_dicom.model import Series, Volume

app = typer.Typer()


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(exists=True, help="A folder of DICOM files, or one file.")],
    config: Annotated[Path | None, typer.Option("--config", "-c", help="node.yaml: say which rules match.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (docs/json.md).")] = False,
) -> None:
    """Show each volume, its geometry and warnings; what is set aside or refused and why; the rules that match."""
    from voxtell_dicom.rules import load_config

    settings = load_config(config) if config else None
    rows = list(inspected(path, settings))
    if as_json:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        _show(rows, with_rules=settings is not None)


def inspected(path: Path, settings: Config | None) -> Iterator[dict[str, Any]]:
    """The rows of ``inspect --json`` for a folder, with progress on standard error where it is large."""
    from voxtell_dicom.cli.scan import scan, unreadable_rows
    from voxtell_dicom.series.report import rows_of

    found = scan(path)
    for series in found.series:
        for row, volume in rows_of(series):
            data = row.data()
            data["rules"] = _rules(series, volume, settings) if settings and volume else []
            yield data
    for row in unreadable_rows(found):
        yield {**row.data(), "rules": []}


def _rules(series: Series, volume: Volume, settings: Config) -> list[str]:
    from voxtell_dicom.cli.folder import headers
    from voxtell_dicom.rules import match_volume

    facts = {"instances": len(series.instances), "calling_ae": series.calling_ae, "called_ae": series.called_ae}
    paths = list(dict.fromkeys(frame.path for frame in volume.frames))
    return [match.rule.name for match in match_volume(settings.rules, volume, headers(paths), facts) if match.met]


def _show(rows: list[dict[str, Any]], *, with_rules: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for series_uid in dict.fromkeys(row["series_uid"] for row in rows):
        title = f"series {series_uid or '(no UID)'}"
        table = Table("Status", "Volume", "Plane", "Shape", "Spacing mm", "Tilt", "Why, warnings", title=title)
        if with_rules:
            table.add_column("Rules")
        for row in (row for row in rows if row["series_uid"] == series_uid):
            color = {"handled": "green", "set_aside": "dim", "refused": "red"}[row["status"]]
            why = f"{row['code']}: {row['reason']}" if row["code"] else "; ".join(row["warnings"])
            table.add_row(
                f"[{color}]{row['status']}[/]",
                row["volume"] or ("whole series" if row["shape"] else f"{row['instances']} instance(s)"),
                row["plane"],
                "×".join(map(str, row["shape"] or ())),
                " × ".join(f"{value:.3g}" for value in row["spacing_mm"] or ()),
                f"{row['tilt_degrees']:.1f}°" if row["tilt_degrees"] else "",
                why,
                *([", ".join(row["rules"])] if with_rules else []),
            )
        console.print(table)
    counts = {word: sum(row["status"] == word for row in rows) for word in ("handled", "set_aside", "refused")}
    console.print(
        f"{counts['handled']} volume(s) handled, {counts['set_aside']} set aside, {counts['refused']} refused"
    )

"""`voxtell-dicom inspect`: what the node sees in a folder: series, volumes, and why the rest is not processed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxtell_dicom.cli.policy import FramesOfReference, MaxGap, References

if TYPE_CHECKING:
    from voxtell_dicom.config import Config
    from voxtell_dicom.model import Series, Volume

app = typer.Typer()


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(exists=True, help="A folder of DICOM files, or one file.")],
    config: Annotated[Path | None, typer.Option("--config", "-c", help="node.yaml: say which rules match.")] = None,
    max_gap: MaxGap = 1.5,
    frames_of_reference: FramesOfReference = References.refuse,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (docs/json.md).")] = False,
) -> None:
    """Show each volume, its geometry and warnings; what is set aside or refused and why; the rules that match.

    With -c, what one of its rules allows (max_gap, frames_of_reference) counts as allowed here.
    """
    from voxtell_dicom.rules import load_config

    settings = load_config(config) if config else None
    rules = settings.rules if settings else []
    widest = max([max_gap, *(rule.max_gap for rule in rules)])
    accept = any(value == "accept" for value in (frames_of_reference, *(rule.frames_of_reference for rule in rules)))
    rows = list(inspected(path, settings, widest, "accept" if accept else "refuse"))
    if as_json:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        _show(rows)


def inspected(
    path: Path, settings: Config | None, max_gap: float = 1.5, frames_of_reference: str = "refuse"
) -> Iterator[dict[str, Any]]:
    """The rows of ``inspect --json`` for a folder, with progress on standard error where it is large."""
    from voxtell_dicom.cli.scan import scan, unreadable_rows
    from voxtell_dicom.series.report import rows_of

    found = scan(path)
    for series in found.series:
        for row, volume in rows_of(series, max_gap, frames_of_reference):
            data = row.data()
            data["rules"] = _rules(series, volume, settings) if settings and volume else []
            yield data
    for row in unreadable_rows(found):
        yield {**row.data(), "rules": []}


def _rules(series: Series, volume: Volume, settings: Config) -> list[str]:
    from voxtell_dicom.cli.folder import headers
    from voxtell_dicom.line.plan import refused_by
    from voxtell_dicom.rules import match_volume

    facts = {"instances": len(series.instances), "calling_ae": series.calling_ae, "called_ae": series.called_ae}
    paths = list(dict.fromkeys(frame.path for frame in volume.frames))
    matches = match_volume(settings.rules, volume, headers(paths), facts)
    return [match.rule.name for match in matches if match.met and refused_by(match.rule, volume) is None]


def _show(rows: list[dict[str, Any]]) -> None:
    from voxtell_dicom.cli.listing import Line, print_by_series

    def line(row: dict[str, Any]) -> Line:
        facts = [
            row["volume"] or ("whole series" if row["shape"] else f"{row['instances']} instance(s)"),
            row["plane"],
            "×".join(map(str, row["shape"] or ())),
            " × ".join(f"{value:.3g}" for value in row["spacing_mm"] or ()) + (" mm" if row["spacing_mm"] else ""),
            f"tilt {row['tilt_degrees']:.1f}°" if row["tilt_degrees"] else "",
        ]
        remarks = [f"{row['code']}: {row['reason']}"] if row["code"] else list(row["warnings"])
        joined = [f"joined in one result with {'; '.join(row['joined_with'])}"] if row["joined_with"] else []
        return Line(row["status"], facts, joined + remarks + [f"rule {name}" for name in row["rules"]])

    print_by_series(rows, line)
    counts = {word: sum(row["status"] == word for row in rows) for word in ("handled", "set_aside", "refused")}
    typer.echo(f"{counts['handled']} volume(s) handled, {counts['set_aside']} set aside, {counts['refused']} refused")

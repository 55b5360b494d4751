"""`voxtell-dicom terms`: what a prompt becomes in a DICOM object: category, type, side, region, colour."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

app = typer.Typer()


@app.command()
def terms(
    prompts: Annotated[list[str], typer.Argument(help="One or more prompts.", metavar="PROMPT...")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (docs/json.md).")] = False,
) -> None:
    """Show the codes and the colour that prompts get. A prompt that is not wholly understood gets a private code."""
    rows = _rows(prompts)
    if as_json:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        _show(rows)


def _rows(prompts: list[str]) -> list[dict[str, Any]]:
    from voxtell_dicom.model import Prompt
    from voxtell_dicom.terms.colors import colors_of
    from voxtell_dicom.terms.terminology import Code, term_of

    def code(value: Code | None) -> dict[str, str] | None:
        return None if value is None else {"value": value.value, "scheme": value.scheme, "meaning": value.meaning}

    rows = []
    colors = colors_of([Prompt(text, text) for text in prompts])
    for text, (red, green, blue) in zip(prompts, colors, strict=True):
        term = term_of(text)
        rows.append(
            {
                "prompt": text,
                "category": code(term.category),
                "type": code(term.type),
                "laterality": code(term.laterality),
                "region": code(term.region),
                "private": term.private,
                "color": f"#{red:02x}{green:02x}{blue:02x}",
            }
        )
    return rows


def _show(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for name in ("Prompt", "Category", "Type", "Side", "Region", "Color"):
        table.add_column(name, overflow="fold")  # a code that is cut is none
    for row in rows:
        cells = [
            f"{row[key]['meaning']}\n{row[key]['scheme']} {row[key]['value']}" if row[key] else ""
            for key in ("category", "type", "laterality", "region")
        ]
        table.add_row(
            Text(row["prompt"]), *(Text(cell) for cell in cells), Text("██ " + row["color"], style=row["color"])
        )
    Console().print(table)
    if any(row["private"] for row in rows):
        typer.echo(
            "99VOXTELL is our private scheme, for words that are not wholly known or may mean two things"
            " (a rule may give codes: docs/rules.md)."
        )

"""What there is, for people: a heading, under it one line each, short facts in columns and the reason in full below.

Nothing is cut, however narrow the terminal: a UID or a reason that one cannot read to its end, or copy, is of no use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

COLORS = {
    **dict.fromkeys(("handled", "exact", "within", "done", "delivered", "same"), "green"),
    **dict.fromkeys(("refused", "unproven", "held", "incomplete", "new"), "yellow"),
    **dict.fromkeys(("wrong", "failed", "changed", "missing"), "bold red"),
    **dict.fromkeys(("set_aside", "dropped", "superseded", "cancelled"), "dim"),
}


@dataclass(frozen=True)
class Line:
    """One thing: the word for its state, its facts, and sentences about it."""

    state: str
    facts: Sequence[str] = ()
    remarks: Sequence[str] = ()


def print_by_series(rows: Sequence[dict[str, Any]], line: Callable[[dict[str, Any]], Line]) -> None:
    """Print rows that have a ``series_uid`` under their series."""
    series: dict[str, list[Line]] = {}
    for row in rows:
        series.setdefault(row["series_uid"], []).append(line(row))
    print_groups([(f"series {uid or '(no UID)'}", lines) for uid, lines in series.items()])


def print_groups(groups: Sequence[tuple[str, Sequence[Line]]]) -> None:
    """Print each heading and the lines under it; the columns stand alike under all headings."""
    from rich.cells import cell_len
    from rich.console import Console
    from rich.text import Text

    from voxtell_dicom.observe.logs import printable

    console = Console()
    rows = [(line.state, *line.facts) for _, lines in groups for line in lines]
    count = max((len(row) for row in rows), default=0)
    widths = [max((cell_len(row[at]) for row in rows if at < len(row)), default=0) for at in range(count)]
    for heading, lines in groups:
        console.print(Text(heading, "bold"), soft_wrap=True)
        for line in lines:
            cells = [Text(line.state, COLORS.get(line.state, "")), *(Text(printable(fact)) for fact in line.facts)]
            for cell, width in zip(cells, widths, strict=False):
                cell.pad_right(width - cell.cell_len)
            text = Text("  ").join([Text(""), *(cell for cell, width in zip(cells, widths, strict=False) if width)])
            text.rstrip()
            console.print(text, soft_wrap=True)
            for remark in line.remarks:
                console.print(Text(f"    {printable(remark)}"), soft_wrap=True)

"""Write the tables of docs/troubleshooting.md from voxtell_dicom/advice.csv.

In the CSV, beside errors.py: each code of an error, a refusal, a job or a result, with its cause and its fix;
and the lines of the log that ask for a person.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "voxtell_dicom" / "advice.csv"
TARGET = ROOT / "docs" / "troubleshooting.md"
TABLE = re.compile(r"(<!-- advice: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


class Advice(NamedTuple):
    """Cause and fix of what has a code. `group`: error, refusal, reason, finding, warning or log."""

    group: str
    code: str
    cause: str
    fix: str


def advice() -> list[Advice]:
    """Return all rows of the CSV, in its order."""
    with SOURCE.open(encoding="utf-8", newline="") as file:
        return [Advice(**row) for row in csv.DictReader(file)]


def table(group: str) -> Iterator[str]:
    """Yield the lines of the table of a group."""
    yield f"| {'line of the log' if group == 'log' else 'code'} | cause | fix |\n| --- | --- | --- |\n"
    for row in advice():
        if row.group == group:
            yield f"| {row.code if group == 'log' else f'`{row.code}`'} | {row.cause} | {row.fix} |\n"


def page(text: str) -> str:
    """Return the page with its tables made anew."""
    return TABLE.sub(lambda found: f"{found[1]}{''.join(table(found[2]))}{found[3]}", text)


if __name__ == "__main__":
    TARGET.write_text(page(TARGET.read_text(encoding="utf-8")), encoding="utf-8")

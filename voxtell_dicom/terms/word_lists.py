"""The one loader of the word lists beside it: `words.csv`, `replacements.csv`, `patterns.csv`, tables of codes.

Lines that begin with # are comments.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files


@cache
def rows(name: str) -> tuple[dict[str, str], ...]:
    """Return the rows of a CSV file of this folder by the names in its first line."""
    with files(__package__).joinpath(name).open(encoding="utf-8") as file:
        return tuple(csv.DictReader(line for line in file if not line.startswith("#")))


@cache
def words(name: str) -> frozenset[str]:
    """Return the words of a list of `words.csv`. Raises KeyError where there is no such list."""
    return frozenset(row["word"] for row in _of_list("words.csv", name))


@cache
def replacements(name: str) -> Mapping[str, str]:
    """Return what stands for each word of a list of `replacements.csv`. Raises KeyError as `words`."""
    return {row["word"]: row["replacement"] for row in _of_list("replacements.csv", name)}


@cache
def alternatives(name: str) -> tuple[str, ...]:
    """Return the regular expressions of a list of `patterns.csv`. Raises KeyError as `words`."""
    return tuple(row["pattern"] for row in _of_list("patterns.csv", name))


def whole_words(*patterns: str) -> re.Pattern[str]:
    """Return a pattern that finds any of `patterns` between word boundaries, in any case."""
    return re.compile(rf"\b(?:{'|'.join(patterns)})\b", re.IGNORECASE)


def _of_list(file: str, name: str) -> list[dict[str, str]]:
    found = [row for row in rows(file) if row["list"] == name]
    if not found:
        raise KeyError(f"{file} has no list '{name}'")
    return found

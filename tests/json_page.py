"""The schemas of docs/json.md, by heading: what a command prints is held against what the page says."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

PAGE = Path(__file__).parents[1] / "docs/json.md"


@cache
def schemas() -> dict[str, dict[str, Any]]:
    """Heading → schema, for every section of the page; a heading may name several commands, with commas between."""
    sections = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    found: dict[str, dict[str, Any]] = {}
    for section in sections:
        heading = section.splitlines()[0].strip()
        blocks = re.findall(r"^```json\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)
        assert len(blocks) == 1, f"{heading}: one schema is needed, {len(blocks)} are there"
        found |= dict.fromkeys(heading.split(", "), json.loads(blocks[0]))
    return found


def assert_documented(heading: str, output: str | bytes) -> Any:
    """Parse what a command printed, hold it against the page's schema of that heading, and give it back."""
    value = json.loads(output)
    jsonschema.Draft202012Validator(schemas()[heading]).validate(value)
    return value

"""docs/rules.md says what the program does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from voxtell_dicom.config import Criterion, Source
from voxtell_dicom.config import problems as config_problems
from voxtell_dicom.rules import problems
from voxtell_dicom.rules.keywords import FACTS, VOLUME_FACTS, VOLUME_VALUES

PAGE = (Path(__file__).parents[2] / "docs/rules.md").read_text(encoding="utf-8")


def test_the_examples_are_right() -> None:
    examples = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(examples) == 3
    for example in examples:
        source = Source(
            f"version: 1\nmodel: {{engine: threshold}}\npeers: {{pacs: {{folder: out}}}}\n{example}", "rules.md"
        )
        assert [*problems(source), *config_problems(source)] == []


def test_every_criterion_is_there() -> None:
    assert re.findall(r"^\| `([a-z ]+)` \| the ", PAGE, flags=re.MULTILINE) == list(get_args(Criterion))


def test_every_condition_written_there_is_right() -> None:
    written = [line.split("|")[1] for line in PAGE.splitlines() if re.match(r"\| `[A-Z]", line)]
    assert len(written) == 6
    for cell in written:
        condition = cell.split("`")[1]
        text = f"rules:\n  - when:\n      Modality: CT\n      {condition}\n".replace(
            "      Modality: CT\n      Mod", "      Mod"
        )
        assert problems(Source(text, "rules.md")) == [], condition


def test_every_fact_is_there() -> None:
    for name in [*FACTS, *VOLUME_FACTS]:
        assert f"`{name}`" in PAGE
    for value in (value for values in VOLUME_VALUES.values() for value in values):
        assert value in PAGE

"""The papers are true of the code: named paths exist, named symbols resolve; and they can be read."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.test_repository import ROOT, tracked

PACKAGE = ROOT / "voxtell_dicom"
LONGEST_LINE = 300
LONGEST_PARAGRAPH = 500
CODE_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
IN_BACKTICKS = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"[\w.-]+(/[\w.-]+)+/?")
ENDS_A_PARAGRAPH = re.compile(r"\n\s*\n|\n(?=\s*(?:[-*|#]|\d+\.) )")
SYMBOL = re.compile(r"(voxtell_dicom(?:\.\w+)*):(\w+(?:\.\w+)*)")
PAGES = sorted(path for path in tracked() if path.suffix == ".md" and PACKAGE not in path.parents)
READ = [page for page in PAGES if page.name != "CHANGELOG.md"]
NEWCOMER = ROOT / "docs" / "architecture.md"
QUESTIONS = (
    "A STOW endpoint",
    "A new output kind",
    "A new engine",
    "A new condition of a rule",
    "A new delivery kind",
)


def prose(page: Path) -> str:
    """Return a page without its code blocks; their lines are left empty, so that line numbers stay."""
    return CODE_BLOCK.sub(lambda block: "\n" * block[0].count("\n"), page.read_text(encoding="utf-8"))


def named(page: Path) -> Iterator[str]:
    """Yield what stands in backticks outside of code blocks."""
    for found in IN_BACKTICKS.finditer(prose(page)):
        yield found[1].strip()


def paths_in(page: Path) -> list[str]:
    """Return what looks like a path of the repository: its first folder is one of the repository's."""
    folders = {path.relative_to(ROOT).parts[0] for path in tracked() if path.parent != ROOT}
    return [name for name in named(page) if PATH.fullmatch(name) and name.split("/")[0] in folders]


def symbols_in(text: str) -> list[str]:
    """Return every `voxtell_dicom.module:symbol` in backticks."""
    return [name for name in IN_BACKTICKS.findall(text) if SYMBOL.fullmatch(name)]


def resolve(name: str) -> Any:
    """Import the object that `module:symbol` names. Raises ImportError or AttributeError."""
    found = SYMBOL.fullmatch(name)
    assert found, name
    value: Any = importlib.import_module(found[1])
    for part in found[2].split("."):
        fields = getattr(value, "__dataclass_fields__", {})
        value = fields[part] if part in fields else getattr(value, part)
    return value


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_named_paths_exist(page: Path) -> None:
    assert [name for name in paths_in(page) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_named_symbols_resolve(page: Path) -> None:
    unknown = []
    for name in symbols_in(page.read_text(encoding="utf-8")):
        try:
            resolve(name)
        except (ImportError, AttributeError):
            unknown.append(name)
    assert unknown == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_line_of_prose_is_long(page: Path) -> None:
    """Tables and code blocks are left out."""
    lines = enumerate(prose(page).splitlines(), 1)
    long = [number for number, line in lines if len(line) > LONGEST_LINE and not line.lstrip().startswith("|")]
    assert long == []


@pytest.mark.parametrize("page", READ, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_paragraph_is_long(page: Path) -> None:
    """What is longer is a list or a table."""
    paragraphs = (text.strip() for text in ENDS_A_PARAGRAPH.split(prose(page)))
    assert [text[:60] for text in paragraphs if len(text) > LONGEST_PARAGRAPH and not text.startswith("|")] == []


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_newcomer_finds_where_to_add(question: str) -> None:
    """`docs/architecture.md` answers it by files and symbols; that they exist is tested above."""
    text = NEWCOMER.read_text(encoding="utf-8")
    chapter = text.split("## Where would I add …\n")[1].split("\n## ")[0]
    answer = chapter.split(f"### {question}\n")[1].split("\n### ")[0]
    assert len(symbols_in(answer)) >= 3
    assert [name for name in IN_BACKTICKS.findall(answer) if PATH.fullmatch(name)]
    assert "| tests, page" in answer


def test_every_layer_is_in_the_table() -> None:
    """The table of `docs/architecture.md` is import-linter's contract, layer by layer."""
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    layers = re.findall(r'^    "([^"]+)",$', settings.split("\nlayers = [\n")[1].split("\n]")[0], re.MULTILINE)
    table = NEWCOMER.read_text(encoding="utf-8").split("## Who may import whom\n")[1].split("\n## ")[0]
    rows = [IN_BACKTICKS.findall(row.split("|")[1]) for row in table.splitlines() if row.startswith("| `")]
    assert rows == [layer.split(" | ") for layer in layers]


def test_every_folder_of_the_package_is_named() -> None:
    folders = {path.relative_to(PACKAGE).parts[0] for path in tracked() if path.is_relative_to(PACKAGE)}
    there = {name for name in folders if (PACKAGE / name).is_dir()}
    assert sorted(there - {Path(name).name for name in paths_in(NEWCOMER)}) == []

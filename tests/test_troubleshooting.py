"""docs/troubleshooting.md: every code has a row with cause and fix, every row has a code, and the page is current."""

from __future__ import annotations

import ast
import importlib
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_repository import ROOT
from tools.write_troubleshooting import TARGET, advice, page
from voxtell_dicom.check.selfcheck import Finding
from voxtell_dicom.dicom.identity import CODES
from voxtell_dicom.dicom.sop_classes import not_acquired_family
from voxtell_dicom.errors import VoxtellDicomError
from voxtell_dicom.jobs.sentences import TEMPLATES
from voxtell_dicom.receive.intake import STATUS

PACKAGE = ROOT / "voxtell_dicom"
ROWS = advice()
# Arguments that are no word and no constant, and what they may be: an error's code passed on, or a table's values.
PASSED_ON = {"error.code", "refusal.code", "family", "code"}
FROM_TABLES = {"code or CODES[keyword]": set(CODES.values())}
WARNING = re.compile(r"^([a-z]+(?:-[a-z]+)*): ")
LOG_METHODS = {"warning", "error", "exception"}


def codes(group: str) -> set[str]:
    return {row.code for row in ROWS if row.group == group}


def trees() -> Iterator[tuple[Path, ast.Module]]:
    """Yield each file of the package with its syntax tree."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def calls(tree: ast.AST, *names: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            yield node


def constants(path: Path) -> dict[str, object]:
    """Return the values of the names in capitals of a module."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    return {key: value for key, value in vars(importlib.import_module(name)).items() if key.isupper()}


def is_refused(call: ast.Call) -> bool:
    """Return whether a call is a Refusal, or a SetAside that refuses (or may)."""
    assert isinstance(call.func, ast.Name)
    flags = [word.value for word in call.keywords if word.arg == "refused"]
    return call.func.id == "Refusal" or (bool(flags) and ast.unparse(flags[0]) != "False")


def refusal_codes() -> set[str]:
    """Return each code that a Refusal, or a SetAside that refuses, is made with."""
    found: set[str] = set(STATUS)
    for path, tree in trees():
        for call in (each for each in calls(tree, "Refusal", "SetAside") if is_refused(each)):
            argument = call.args[0] if call.args else next(word.value for word in call.keywords if word.arg == "code")
            words = ast.unparse(argument)
            if isinstance(argument, ast.Constant):
                found.add(str(argument.value))
            elif words in FROM_TABLES:
                found |= FROM_TABLES[words]
            elif words not in PASSED_ON:
                assert words in constants(path), f"{path}:{call.lineno}: what codes may {words} be?"
                found.add(str(constants(path)[words]))
    return found


def error_codes() -> set[str]:
    """Return the codes of VoxtellDicomError and of all classes of the package below it; "" for one without a code."""
    classes = [node for _, tree in trees() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    ours, before = {VoxtellDicomError.__name__}, 0
    while len(ours) > before:
        before = len(ours)
        ours |= {node.name for node in classes if ours & {ast.unparse(base).rpartition(".")[2] for base in node.bases}}
    found = set()
    for node in (each for each in classes if each.name in ours):
        stated = [
            line.value for line in node.body if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "code"
        ]
        own = [str(value.value) for value in stated if isinstance(value, ast.Constant)]
        passed_on = any(isinstance(line, ast.FunctionDef) and line.name == "__init__" for line in node.body)
        found |= set(own) if own or passed_on else {f"{node.name} has no code"}
    return found


def test_every_error_class_has_a_row() -> None:
    assert error_codes() == codes("error")


def test_every_refusal_has_a_row() -> None:
    found = refusal_codes()
    assert not_acquired_family("1.2.840.10008.5.1.4.1.1.7.3") == "secondary-capture", "the one family that may refuse"
    assert found | {"secondary-capture"} == codes("refusal")


def test_every_reason_of_a_job_has_a_row() -> None:
    assert set(TEMPLATES) - {""} == codes("reason")


def test_every_finding_has_a_row() -> None:
    made = {str(call.args[0].value) for _, tree in trees() for call in calls(tree, "Finding") if call.args}
    assert made == codes("finding")
    assert Finding("edge", "liver", "words").kind == "edge"


def test_every_warning_about_a_series_has_a_row() -> None:
    """Texts in the code that begin with one of the codes, and the codes that the page about series lists."""
    listed = re.search(
        r"^Codes are stable words.*Warnings: (.*)\.$", (ROOT / "docs/series.md").read_text(), re.MULTILINE
    )
    assert listed
    assert set(re.findall(r"`([a-z-]+)`", listed[1])) == codes("warning")
    made = set()
    for path, tree in trees():
        if "series" in path.parts:
            texts = (
                node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
            )
            made |= {found[1] for text in texts if (found := WARNING.match(text))}
    assert made - {"series", "unreadable"} <= codes("warning")


def test_lines_of_the_log_exist() -> None:
    said = set()
    for _, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOG_METHODS:
                said |= (
                    {part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)}
                    if node.args
                    else set()
                )
    assert codes("log") - said == set()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.group}-{row.code[:20]}")
def test_rows_are_whole(row: object) -> None:
    group, code, cause, fix = row  # type: ignore[misc]
    assert all(text.strip() == text and text for text in (group, code, cause, fix))
    assert not any("|" in text for text in (code, cause, fix))


def test_no_code_has_two_rows() -> None:
    assert [key for key, count in Counter((row.group, row.code) for row in ROWS).items() if count > 1] == []


def test_page_is_current() -> None:
    """Run tools/write_troubleshooting.py after a change of the CSV."""
    text = TARGET.read_text(encoding="utf-8")
    assert page(text) == text
    shown = re.findall(r"<!-- advice: (\w+) -->", text)
    assert sorted(shown) == sorted({row.group for row in ROWS})


def test_commands_that_the_page_names_exist() -> None:
    from voxtell_dicom.cli import COMMANDS

    named = re.findall(r"`voxtell-dicom ([a-z]+)", TARGET.read_text(encoding="utf-8"))
    assert named
    assert set(named) <= set(COMMANDS)

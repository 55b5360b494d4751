"""`terms` shows what prompts become; whole codes, however narrow the terminal."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from tests.json_page import assert_documented
from voxtell_dicom.cli import app


@pytest.mark.parametrize("columns", ["60", "80", "200"])
def test_a_code_is_never_cut(columns: str) -> None:
    done = CliRunner(env={"COLUMNS": columns}).invoke(app, ["terms", "left kidney tumour", "kidney + tumor"])
    assert done.exit_code == 0
    assert "…" not in done.output
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.output.splitlines() if "│" in line]
    whole = ["".join(row[number] for row in rows) for number in range(6)]
    assert "64033007" in whole[4]
    assert "108369006" in whole[2]
    assert "99VOXTELL" in whole[2]
    assert "PEC2BDE36B1E3" in whole[2]
    assert "may mean two things" in " ".join(done.output.split())


def test_as_json() -> None:
    done = CliRunner().invoke(app, ["terms", "--json", "L kidney", "肝臓"])
    known, private = assert_documented("voxtell-dicom terms", done.output)
    assert (known["type"]["meaning"], known["laterality"]["meaning"], known["private"]) == ("Kidney", "Left", False)
    assert (private["type"]["scheme"], private["type"]["meaning"], private["private"]) == ("99VOXTELL", "肝臓", True)

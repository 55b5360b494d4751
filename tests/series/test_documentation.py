"""docs/series.md holds the table of cases as it is, and every code that the series room uses."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.series import cases, multiframe_cases, strange_cases  # noqa: F401 - adds its cases

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/series.md").read_text(encoding="utf-8")
CORPUS = Path(os.environ.get("VOXTELL_DICOM_CORPUS") or "/nonexistent")


def test_table_is_generated() -> None:
    found = PAGE.split("<!-- cases: python -m tests.series.cases -->\n")[1].split("<!-- end of cases -->")[0]
    assert found == cases.table(), "replace the table by what `python -m tests.series.cases` prints"


def test_every_refusal_is_documented() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "voxtell_dicom/series").glob("*.py"))
    codes = set(re.findall(r'Refusal\(\s*"([a-z-]+)"', source))
    codes |= {code for one in cases.CASES for code in one.refused}
    assert len(codes) > 15
    assert [code for code in sorted(codes) if f"`{code}`" not in PAGE] == []


@pytest.mark.corpus
def test_every_real_series_is_listed() -> None:
    folders = [path.name for path in CORPUS.iterdir() if path.is_dir() and any(path.rglob("*.dcm"))]
    if (CORPUS / "ct_ge_tilt_varspacing").is_dir():  # the shared corpus, not a site's own
        assert [name for name in folders if f"| {name} |" not in PAGE] == []

"""Compare values with the stored ones beside each test file.

`test_NAME.py` keeps its values in `NAME.json`. To store new ones after an intended change, which needs a line in
CHANGELOG.md:

    rm tests/golden/NAME.json; VOXTELL_DICOM_GOLDEN=write pytest tests/golden/test_NAME.py

The file is removed first so that values that no test asks for do not stay.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.golden.environment import fixed_environment

Golden = Callable[..., None]


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Return the function that compares a named value with the stored one, or stores it.

    Its argument `optional`: a value is compared only where one of that name is stored.
    """
    path = Path(request.path).with_name(request.path.stem.removeprefix("test_") + ".json")

    def compare(name: str, value: Any, *, optional: bool = False) -> None:
        stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        plain = json.loads(json.dumps(value))
        if os.environ.get("VOXTELL_DICOM_GOLDEN") == "write":
            text = json.dumps(stored | {name: plain}, indent=1, ensure_ascii=False, sort_keys=True)
            path.write_text(text + "\n", encoding="utf-8")
        elif name in stored or not optional:
            assert plain == stored.get(name), f"{name}: not as in {path.name}, see tests/golden/conftest.py"

    return compare


@pytest.fixture(scope="module")
def fixed() -> Iterator[None]:
    """Fix the clock, the time zone and the versions that results contain."""
    with fixed_environment():
        yield

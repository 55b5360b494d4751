"""What holds for every test: which ones this machine can run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog


def _absent() -> set[str]:
    """Markers whose needs this machine does not meet. Their tests are deselected, not skipped (contracts § 9)."""
    absent = set()
    if not Path(os.environ.get("VOXTELL_DICOM_CORPUS") or "/nonexistent").is_dir():
        absent.add("corpus")
    if not any(Path("/dev").glob("nvidia[0-9]*")):
        absent.add("cuda")
    return absent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    absent = _absent()
    gone = [item for item in items if absent & {marker.name for marker in item.iter_markers()}]
    if gone:
        config.hook.pytest_deselected(items=gone)
        items[:] = [item for item in items if item not in set(gone)]


@pytest.fixture(autouse=True)
def _own_logs() -> Iterator[None]:
    """A command run within a test sets up logs on the standard error of that test, which is closed after it."""
    yield
    structlog.reset_defaults()

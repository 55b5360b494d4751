"""Configure all tests: selection by what this machine has, and the profiles of Hypothesis."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

from tests import needs

settings.register_profile("fixed", derandomize=True, database=None, deadline=None)  # a busy machine is slow
settings.register_profile("random", max_examples=2000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))

# Folders and files that drive whole programs.
WHOLE = {"system", "oracles", "viewers", "chaos", "hostile", "operation", "web", "test_readme.py"}
SLOW = {  # folders and their files that take longest for what they test; make test-fast leaves them out
    "cli": ("check", "demo", "segment"),
    "commitment": ("answers", "requests"),
    "deliver": ("dimse",),
    "encode": ("analytic_measurements", "joined", "matrix", "secondary"),
    "engine": (
        *("engine_allocator", "engine_checkpoint", "engine_kernels", "engine_memory", "engine_memory_cap"),
        "engine_laboratory",
        *("engine_options", "engine_postprocess", "engine_predictor", "engine_pretend_cuda", "engine_startup"),
    ),
    "golden": ("results",),
    "network": ("association_loops", "pynetdicom_suite"),
    "phantom": ("model", "training"),
    "receive": ("completion", "dimse", "kill"),
    "series": ("benchmark", "strange_headers"),
    "tests": ("dependencies", "needs"),
    "tls": ("commands", "renewal"),
    "verify": ("verify",),
    "workflow": ("gates", "job_states", "joined", "migrations", "recovery", "steps", "study", "watch", "workers"),
}
_deselected: Counter[str] = Counter()


def _absent() -> set[str]:
    """Return the markers whose needs this machine does not meet. Their tests are deselected, not skipped."""
    absent = set()
    if not Path(os.environ.get("VOXTELL_DICOM_CORPUS") or "/nonexistent").is_dir():
        absent.add("corpus")
    if not any(Path("/dev").glob("nvidia[0-9]*")):
        absent.add("cuda")
    return absent


def _is_slow(path: Path) -> bool:
    return path.stem.removeprefix("test_") in SLOW.get(path.parent.name, ())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark each test with the programs that it needs; deselect, by name, those that cannot run here."""
    absent, missing = _absent(), needs.missing()
    chosen: list[pytest.Item] = []
    gone: list[pytest.Item] = []
    for item in items:
        names = needs.needed(item) if isinstance(item, pytest.Function) else set()
        if names:
            item.add_marker(pytest.mark.needs(*sorted(names)))
        if names or WHOLE & set(item.path.parts) or _is_slow(item.path):
            item.add_marker(pytest.mark.whole)
        unmet = (names & missing) | (absent & {marker.name for marker in item.iter_markers()})
        for name in unmet:
            _deselected[f"{name}: {item.nodeid.partition('[')[0]}"] += 1
        (gone if unmet else chosen).append(item)
    if gone:
        config.hook.pytest_deselected(items=gone)
        items[:] = chosen


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print which tests were deselected, and what they need."""
    for line, count in sorted(_deselected.items()):
        terminalreporter.write_line(f"deselected, needs {line} ({count})")


@pytest.fixture(autouse=True)
def _own_logs() -> Iterator[None]:
    """A command run within a test sets up logs on the standard error of that test, which is closed after it."""
    yield
    structlog.reset_defaults()
    logging.getLogger("voxtell_dicom").setLevel(logging.NOTSET)

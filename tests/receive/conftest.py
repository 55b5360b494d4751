"""Receivers that are closed at the end of a test, and a disk that is soon full."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.receive.receiving import Receiver


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Callable[..., Receiver]]:
    """Starts receivers on tmp_path/spool (or on another folder)."""
    started: list[Receiver] = []

    def start(root: Path | None = None, **settings: Any) -> Receiver:
        started.append(Receiver(root or tmp_path / "spool", **settings))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB: a tmpfs in a mount of its own. Needs root, as CI has."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)

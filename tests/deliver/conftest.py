"""A small SEG, as the encoder would leave it in the spool."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deliver.small_seg import write_small_seg
from voxtell_dicom.model import Result


@pytest.fixture(scope="session")
def spooled(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A result of some kilobytes."""
    return write_small_seg(tmp_path_factory.mktemp("spool"))


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A result above 1 MB, where dicomweb-client would start to send in chunks."""
    return write_small_seg(tmp_path_factory.mktemp("spool"), frames=40, side=512)


@pytest.fixture
def fresh(tmp_path: Path) -> Result:
    """A result of its own for a test that spoils the file."""
    return write_small_seg(tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB: a tmpfs in a mount of its own. Needs root, as CI has."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)

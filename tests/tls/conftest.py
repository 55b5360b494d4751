"""Two authorities, certificates, and receivers that take TLS."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.receive.receiving import Receiver
from tests.tls.authority import Authority, Pair

Logs = list[MutableMapping[str, Any]]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Return the CA of the hospital."""
    return Authority(tmp_path, "hospital", 1)


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    """Another CA."""
    return Authority(tmp_path, "stranger", 2)


@pytest.fixture
def ours(authority: Authority) -> Pair:
    """Return the certificate of the node."""
    return authority.issue("node")


@pytest.fixture
def logs() -> Iterator[Logs]:
    """Return what is logged, as dictionaries."""
    with capture_logs() as lines:
        yield lines


@pytest.fixture
def receiver(tmp_path: Path, ours: Pair, authority: Authority) -> Iterator[Callable[..., Receiver]]:
    """Starts receivers with TLS; `tls` overrides its settings."""
    started: list[Receiver] = []

    def start(*, tls: dict[str, Any] | None = None, **settings: Any) -> Receiver:
        wanted = {**ours.settings, "ca": str(authority.ca), **(tls or {})}
        started.append(Receiver(tmp_path / f"spool{len(started)}", dimse={"tls": wanted}, **settings))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def reasons(logs: Logs) -> Callable[[], str]:
    """Return the reasons in the log so far, in one text."""
    return lambda: "\n".join(str(line.get("reason", "")) for line in logs)

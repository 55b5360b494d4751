"""A real PostgreSQL server (Debian package) for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.postgresql import PostgreSql


@pytest.fixture(scope="module")
def postgresql_url() -> Iterator[str]:
    with PostgreSql() as server:
        yield server.url

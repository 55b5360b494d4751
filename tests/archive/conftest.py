"""The fixtures of receiving, and a PostgreSQL server, for the archive's tests."""

from __future__ import annotations

from tests.receive.conftest import receiver, small_disk
from tests.workflow.conftest import postgresql_url

__all__ = ["postgresql_url", "receiver", "small_disk"]

"""The fixtures of receiving, and both databases, for the archive's tests."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.receive.conftest import receiver, small_disk
from tests.workflow.conftest import postgresql_url
from voxtell_dicom.archive.database import open_database
from voxtell_dicom.config import Config

__all__ = ["postgresql_url", "receiver", "small_disk"]


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/node.sqlite"
    else:
        server = request.getfixturevalue("postgresql_url")
        name = f"t{uuid.uuid4().hex}"
        driver = server.replace("postgresql://", "postgresql+psycopg://")
        admin = sa.create_engine(driver, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with admin.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        url = f"{server.rpartition('/')[0]}/{name}"
    node = {"storage": tmp_path, "database": url}
    opened = open_database(Config.model_validate({"version": 1, "node": node, "model": {"engine": "threshold"}}))
    yield opened
    opened.dispose()

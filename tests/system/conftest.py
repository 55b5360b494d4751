"""One Orthanc for the tests that only add studies of their own to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.peers.orthanc import Orthanc


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with Orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running

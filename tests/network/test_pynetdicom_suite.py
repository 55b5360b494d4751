"""pynetdicom's own tests of what we replace pass with our loops. All of them: `make pynetdicom`."""

from __future__ import annotations

import pytest

from tests.network.pynetdicom_suite import OUR_LOOPS, failures


@pytest.mark.parametrize("module", ["test_dul", "test_dimse_provider", "test_service_verification"])
def test_its_own_tests_pass_with_our_loops(module: str) -> None:
    assert failures(module, *OUR_LOOPS) == set()

"""Counts of own failures outlive the process; the end of a workflow is noted once."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from voxtell_dicom.config import Config, Model
from voxtell_dicom.config.settings import Delivery
from voxtell_dicom.workflow.deliver import retry_delay_s
from voxtell_dicom.workflow.failures import WorkflowFailures


def test_failures_are_counted_by_workflow_and_outlive_the_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/node.sqlite"
    first = WorkflowFailures(sa.create_engine(url))
    assert [first.add("a"), first.add("a"), first.add("b")] == [1, 2, 1]
    second = WorkflowFailures(sa.create_engine(url))
    assert second.add("a") == 3
    assert second.unsettled(["a", "b", "c"]) == ["a", "b", "c"]
    for _ in range(2):
        second.settle("a")
        second.settle("c")
    assert first.unsettled(["a", "b", "c"]) == ["b"]
    assert first.add("a") == 4


@given(
    st.integers(1, 10**9),
    st.floats(0.001, 1e6),
    st.floats(0.001, 1e6),
)
def test_the_delay_of_a_retry_grows_to_the_longest_and_never_overflows(attempt: int, first: float, longest: float):
    """Attempt 1025 of version 0.1 raised OverflowError, and the delivery was given up."""
    delivery = Delivery(first_retry_s=first, longest_retry_s=longest)
    config = Config(version=1, model=Model(engine="threshold"), delivery=delivery)
    delay, following = retry_delay_s(config, attempt), retry_delay_s(config, attempt + 1)
    assert 0 < delay <= longest
    assert delay <= following
    assert retry_delay_s(config, 1) == min(first, longest)
    assert retry_delay_s(config, 1025) == longest

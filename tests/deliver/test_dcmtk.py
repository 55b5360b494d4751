"""C-STORE against DCMTK's storescp, which is not ours nor pynetdicom's: links that break at every point."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deliver.test_dimse import dataset_bytes
from tests.system.peers.dcmtk import StoreScp
from voxtell_dicom.config import Peer
from voxtell_dicom.deliver import deliver
from voxtell_dicom.model import Outcome, Result


def send(result: Result, scp: StoreScp, timeout_s: float = 60) -> Outcome:
    peer = Peer(ae_title="STORESCP", host="127.0.0.1", port=scp.port, timeout_s=timeout_s)
    return deliver(result, peer, calling_ae="VOXTELL", name="pacs")


def test_it_stores_the_very_bytes(spooled: Result, large: Result, tmp_path: Path) -> None:
    with StoreScp(tmp_path / "in") as scp:
        assert [send(result, scp).state for result in (spooled, large)] == ["delivered"] * 2
        stored = {dataset_bytes(path) for path in scp.files}
    assert stored == {dataset_bytes(spooled.path), dataset_bytes(large.path)}


@pytest.mark.parametrize(
    ("option", "state", "status"),
    [
        ("--abort-during", "retry", "lost link"),
        ("--abort-after", "retry", "lost link"),
        ("--refuse", "failed", "rejected (permanent)"),
        ("+xi", "failed", "context refused"),  # takes Implicit VR only: we never encode anew
    ],
)
def test_what_it_does_wrong_has_its_outcome(
    large: Result, tmp_path: Path, option: str, state: str, status: str
) -> None:
    with StoreScp(tmp_path / "in", option) as scp:
        outcome = send(large, scp)
    assert (outcome.state, outcome.status) == (state, status)


def test_one_that_takes_too_long_is_tried_again(spooled: Result, tmp_path: Path) -> None:
    with StoreScp(tmp_path / "in", "--sleep-during", "3") as scp:
        outcome = send(spooled, scp, timeout_s=0.5)
    assert (outcome.state, outcome.status) == ("retry", "lost link")

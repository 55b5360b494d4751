"""Results count as delivered once the peer has committed to them: each thing that a peer may say, or not say."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.commitment.attempt import JOB, Node
from tests.commitment.commit_scp import CommitScp
from tests.network.conftest import wait_until
from tests.receive.receiving import Receiver
from tests.system.peers.orthanc import Orthanc
from tests.system.peers.ports import free_port
from voxtell_dicom.deliver import commitment
from voxtell_dicom.model import Result
from voxtell_dicom.model.states import COMMITMENT_TRANSITIONS, CommitmentState, commitment_predecessors

SOON = {"commit_timeout_s": 0.001}


@pytest.fixture(autouse=True)
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that comes on another association is looked for at the next attempt, soon."""
    monkeypatch.setattr(commitment, "AT_ONCE_S", 0.5)


def node_with(folder: Path, peer: dict[str, Any], count: int = 1) -> tuple[Node, list[Result]]:
    node = Node(folder, peer)
    return node, node.open(folder / "results", count)


@pytest.fixture
def receiving(tmp_path: Path) -> Iterator[Callable[..., Receiver]]:
    """Starts our port, with the job book of a node behind it."""
    started: list[Receiver] = []

    def start(node: Node, **settings: Any) -> Receiver:
        peers = {"pacs": {**node.config.peers["pacs"].model_dump(exclude_defaults=True)}}
        started.append(
            Receiver(tmp_path / "spool", peers=peers, record_commitment=node.book.record_commitment, **settings)
        )
        return started[-1]

    yield start
    for one in started:
        one.close()


def test_a_report_on_the_same_association(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commitment, "AT_ONCE_S", 60)
    with CommitScp() as pacs:
        node, results = node_with(tmp_path, pacs.settings, 2)
        assert node.attempt(1) == "delivered"
        assert sorted(pacs.stored) == sorted(result.sop_instance_uid for result in results)
        assert len(pacs.asked) == 1, "one transaction for all"
        wait_until(lambda: pacs.answered == [0x0000])
    assert node.book.state(JOB) == "delivered"
    assert "committed, stored and committed" in node.message(results[0])


def test_a_report_on_another_association(tmp_path: Path, receiving: Callable[..., Receiver]) -> None:
    with CommitScp(report="never") as pacs:
        node, results = node_with(tmp_path, pacs.settings)
        port = receiving(node).port
        assert node.attempt(1) == "retry"
        pacs.report_to(port)
        assert pacs.answered == [0x0000]
        assert node.attempt(2) == "delivered"
        assert pacs.stored == [results[0].sop_instance_uid], "sent once"
    assert node.book.state(JOB) == "delivered"


def test_a_report_of_nothing_that_was_asked(tmp_path: Path, receiving: Callable[..., Receiver]) -> None:
    with CommitScp(report="never") as pacs:
        node, _ = node_with(tmp_path, pacs.settings)
        port = receiving(node, accept_unknown=True).port
        assert node.attempt(1) == "retry"
        right, pacs.asked[-1].TransactionUID = pacs.asked[-1].TransactionUID, "2.25.1"
        pacs.report_to(port)
        assert pacs.answered == [0x0115]
        pacs.asked[-1].TransactionUID = right
        with pytest.raises(AssertionError):  # another caller gets no context for it
            pacs.report_to(port, calling="OTHER")
        assert node.attempt(2) == "retry"


def test_a_peer_that_never_reports_leaves_the_job_undelivered_and_visible(tmp_path: Path) -> None:
    with CommitScp(report="never") as pacs:
        node, (result,) = node_with(tmp_path, pacs.settings)
        assert [node.attempt(number) for number in (1, 2, 3)] == ["retry"] * 3
        assert (len(pacs.stored), len(pacs.asked)) == (1, 1), "neither sent nor asked again before the time"
    assert node.book.state(JOB) == "delivering"
    assert "waits for commitment, it is stored there, and asked to commit since" in node.message(result)
    job = node.book.get(JOB)
    assert job is not None
    assert "waits for commitment" in str(job.reason)


def test_a_peer_is_asked_again_after_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with CommitScp(report="never") as pacs:
        node, _ = node_with(tmp_path, {**pacs.settings, **SOON})
        assert node.attempt(1) == "retry"
        pacs.report = "same"
        monkeypatch.setattr(commitment, "AT_ONCE_S", 60)
        assert node.attempt(2) == "delivered"
        first, second = (asked.TransactionUID for asked in pacs.asked)
        assert first != second
        assert len(pacs.stored) == 1


def test_what_it_does_not_commit_to_is_sent_again_and_the_rest_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commitment, "AT_ONCE_S", 60)
    with CommitScp() as pacs:
        node, (good, bad) = node_with(tmp_path, pacs.settings, 2)
        pacs.reasons[bad.sop_instance_uid] = 0x0112
        assert node.attempt(1) == "retry"
        assert node.book.last_states(JOB, "pacs")[good.sop_instance_uid] == "delivered"
        assert "not committed, the peer does not commit to it: 0112, no such object instance" in node.message(bad)
        pacs.reasons.clear()
        pacs.stored.clear()
        assert node.attempt(2) == "delivered"
        assert pacs.stored == [bad.sop_instance_uid]
        assert [item.ReferencedSOPInstanceUID for item in pacs.asked[-1].ReferencedSOPSequence] == pacs.stored


@pytest.mark.parametrize(
    ("reason", "state"), [(0x0110, "retry"), (0x0213, "retry"), (0x0119, "failed"), (0x0122, "failed")]
)
def test_what_sending_again_cannot_help_waits_for_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int, state: str
) -> None:
    monkeypatch.setattr(commitment, "AT_ONCE_S", 60)
    with CommitScp() as pacs:
        node, (result,) = node_with(tmp_path, pacs.settings)
        pacs.reasons[result.sop_instance_uid] = reason
        assert node.attempt(1) == state
        assert f"{reason:04X}" in node.message(result)


@pytest.mark.parametrize(
    ("scp", "state", "said"),
    [
        ({"offers": False}, "failed", "accepts no Storage Commitment"),
        ({"status": 0x0122}, "failed", "N-ACTION is answered 0122"),
        ({"status": 0x0213}, "retry", "N-ACTION is answered 0213"),
    ],
)
def test_a_request_that_is_not_taken(tmp_path: Path, scp: dict[str, Any], state: str, said: str) -> None:
    with CommitScp(**scp) as pacs:
        node, (result,) = node_with(tmp_path, pacs.settings)
        assert node.attempt(1) == state
    assert said in node.message(result)
    assert not node.book.commitments(JOB, "pacs")


def test_a_node_killed_behind_its_request_finds_the_report(tmp_path: Path, receiving: Callable[..., Receiver]) -> None:
    with CommitScp(report="never") as pacs:
        node, (result,) = node_with(tmp_path, pacs.settings)
        command = [sys.executable, "-m", "tests.commitment.attempt", str(tmp_path), json.dumps(pacs.settings)]
        process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
        pacs.on_action = lambda: process.send_signal(signal.SIGKILL)
        assert process.wait(120) == -signal.SIGKILL
        wait_until(lambda: pacs.asked)
        pacs.report_to(receiving(node).port)
        assert pacs.answered == [0x0000]
        assert node.attempt(1) == "delivered"
        assert pacs.stored == [result.sop_instance_uid]


def test_orthanc_commits_to_what_it_has_and_not_to_what_it_has_not(
    tmp_path: Path, receiving: Callable[..., Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commitment, "AT_ONCE_S", 60)
    http, dicom, ours = free_port(), free_port(), free_port()
    peer = {"ae_title": "ORTHANC", "host": "127.0.0.1", "port": dicom, "commit": True, **SOON}
    node, (result,) = node_with(tmp_path, peer)
    receiving(node, dimse={"port": ours})
    modalities = {"node": ("VOXTELL", ours)}
    with Orthanc(tmp_path / "orthanc", modalities=modalities, dicom_port=dicom, http_port=http) as orthanc:
        # As after a loss at the peer: it was asked before, and has no longer what it is asked for.
        node.book.request_commitment(JOB, "pacs", "2.25.5", {result.sop_instance_uid: False})
        assert node.attempt(1) == "retry"
        assert "0112, no such object instance" in node.message(result)
        assert not orthanc.instances(result.study_uid)
        assert node.attempt(2) == "delivered"
        assert len(orthanc.instances(result.study_uid)) == 1
    assert node.book.state(JOB) == "delivered"


def test_the_table_of_transitions() -> None:
    assert set(COMMITMENT_TRANSITIONS) == set(CommitmentState)
    assert commitment_predecessors(CommitmentState.REQUESTED) == {CommitmentState.REQUESTED, CommitmentState.FAILED}

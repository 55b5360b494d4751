"""Each row of contracts § 4 over C-STORE, against a Storage SCP that answers by script."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import JPEG2000Lossless

from tests.system.peers.ports import free_port
from tests.system.peers.scripted_scp import ScriptedScp, Step
from tests.system.peers.slow_link import SlowLink
from voxtell_dicom.cli.peers import ask
from voxtell_dicom.config import Peer
from voxtell_dicom.deliver import deliver, deliver_all
from voxtell_dicom.dicom.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from voxtell_dicom.model import Outcome, Result


def send(result: Result, peer: Peer) -> Outcome:
    return deliver(result, peer, calling_ae="VOXTELL", name="pacs")


def dataset_bytes(path: Path) -> bytes:
    """What follows the file meta information of a Part 10 file."""
    data = path.read_bytes()
    length = int.from_bytes(data[140:144], "little")  # value of (0002,0000), the first element after "DICM"
    return data[144 + length :]


ROWS: list[tuple[Step, str, str, bool]] = [
    (0x0000, "delivered", "0000", False),
    (0xB000, "delivered", "B000", True),
    (0xB006, "delivered", "B006", True),
    (0xB007, "delivered", "B007", True),
    (0x0001, "delivered", "0001", True),
    (0x0107, "delivered", "0107", True),
    (0x0116, "delivered", "0116", True),
    (0xA700, "retry", "A700", False),
    (0xA7FF, "retry", "A7FF", False),
    ("reject transient", "retry", "rejected (transient)", False),
    ("abort", "retry", "lost link", False),
    ("drop", "retry", "lost link", False),
    (0xA900, "failed", "A900", False),
    (0xA9FF, "failed", "A9FF", False),
    (0xC000, "failed", "C000", False),
    (0xC123, "failed", "C123", False),
    (0x0110, "failed", "0110", False),
    (0x0122, "failed", "0122", False),
    (0x0124, "failed", "0124", False),
    ("refuse context", "failed", "context refused", False),
    ("reject permanent", "failed", "rejected (permanent)", False),
]


@pytest.fixture(scope="module")
def scp() -> Iterator[ScriptedScp]:
    with ScriptedScp() as running:
        yield running


@pytest.mark.parametrize(
    ("step", "state", "status", "warning"), ROWS, ids=lambda v: f"{v:04X}" if type(v) is int else None
)
def test_each_answer_has_its_outcome(
    scp: ScriptedScp, spooled: Result, step: Step, state: str, status: str, warning: bool
) -> None:
    scp.steps = [step]
    outcome = send(spooled, scp.peer())
    again = send(spooled, scp.peer())
    assert (outcome.state, outcome.status, outcome.warning) == (state, status, warning)
    for word in ("pacs", spooled.sop_instance_uid, status):
        assert word in outcome.message
    assert ("jobs retry" in outcome.message) == (state == "failed")
    assert again.state == "delivered"


@pytest.mark.parametrize(
    ("rejection", "advice"),
    [
        ((1, 3), "let the peer know our AE title VOXTELL"),
        ((1, 7), "does not answer to the AE title"),
        ((1, 2), "does not speak this version of DICOM"),
        ((2, 2), "does not speak this version of DICOM"),
        ((1, 1), "find out from the peer's log"),
        ((2, 1), "find out from the peer's log"),
    ],
)
def test_a_permanent_rejection_gets_the_advice_that_fits(
    spooled: Result, rejection: tuple[int, int], advice: str
) -> None:
    with ScriptedScp(["reject permanent"]) as scp:
        scp.rejection = rejection
        outcome = send(spooled, scp.peer())
    assert (outcome.state, outcome.status) == ("failed", "rejected (permanent)")
    assert advice in outcome.message


def test_the_very_bytes_of_the_file_arrive(spooled: Result, large: Result) -> None:
    with ScriptedScp() as scp:
        assert send(spooled, scp.peer()).state == "delivered"
        assert send(large, scp.peer()).state == "delivered"
    for result, stored in zip((spooled, large), scp.stored, strict=True):
        assert stored.data == dataset_bytes(result.path)
        assert stored.sop_class_uid == result.sop_class_uid
        assert stored.calling_ae == "VOXTELL"


def test_bytes_that_an_encoder_would_mend_are_left_alone(fresh: Result) -> None:
    """Undefined lengths and an odd value padding survive: nothing is decoded on the way."""
    ds = pydicom.dcmread(fresh.path)
    ds["SegmentSequence"].is_undefined_length = True
    ds["SharedFunctionalGroupsSequence"].is_undefined_length = True
    ds.save_as(fresh.path)
    with ScriptedScp() as scp:
        assert send(replace(fresh, digest=""), scp.peer()).state == "delivered"
    assert scp.stored[0].data == dataset_bytes(fresh.path)


def test_the_transfer_syntax_of_the_file_is_asked_for(fresh: Result) -> None:
    ds = pydicom.dcmread(fresh.path)
    ds.file_meta.TransferSyntaxUID = JPEG2000Lossless  # the label is what matters here: pixels are not looked at
    ds.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\xd9"])
    ds["PixelData"].is_undefined_length = True
    ds.save_as(fresh.path)
    with ScriptedScp() as scp:
        assert send(replace(fresh, digest=""), scp.peer()).state == "delivered"
    assert scp.stored[0].transfer_syntax_uid == JPEG2000Lossless


@pytest.mark.parametrize(
    ("there", "find", "state"),
    [(True, 0x0000, "delivered"), (False, 0x0000, "failed"), (True, None, "failed"), (False, 0xC001, "failed")],
    ids=["there", "not there", "no C-FIND", "C-FIND fails"],
)
def test_a_duplicate_is_looked_up(spooled: Result, there: bool, find: int | None, state: str) -> None:
    holds = [spooled.sop_instance_uid] if there else ["1.2.3"]
    with ScriptedScp([0x0111], find=find, holds=holds) as scp:
        outcome = send(spooled, scp.peer())
        assert (outcome.state, outcome.status) == (state, "0111")
        assert scp.associations == 2


def test_a_duplicate_that_cannot_be_looked_up_now_is_sent_again(spooled: Result) -> None:
    with ScriptedScp([0x0111, "reject transient"], holds=[spooled.sop_instance_uid]) as scp:
        assert send(spooled, scp.peer()).state == "retry"
        assert send(spooled, scp.peer()).state == "delivered"


def test_nobody_there_is_sent_again(spooled: Result) -> None:
    started = time.monotonic()
    outcome = send(spooled, Peer(ae_title="AWAY", host="127.0.0.1", port=free_port(), timeout_s=2))
    assert (outcome.state, outcome.status) == ("retry", "no connection")
    assert time.monotonic() - started < 30  # without it: never
    outcome = send(spooled, Peer(ae_title="AWAY", host="no-such-host.invalid", port=104, timeout_s=2))
    assert (outcome.state, outcome.status) == ("retry", "no connection")


def test_silence_ends_by_the_timeout_of_the_peer(spooled: Result) -> None:
    with ScriptedScp(["silence"]) as scp:
        started = time.monotonic()
        outcome = send(spooled, scp.peer(timeout_s=1))
        assert (outcome.state, outcome.status) == ("retry", "lost link")
        assert time.monotonic() - started < 30  # without it: never


def test_a_thin_line_is_given_the_time_it_needs(scp: ScriptedScp, large: Result) -> None:
    scp.steps = []
    with SlowLink(scp.port, bytes_per_s=large.path.stat().st_size / 8) as link:
        peer = Peer(ae_title=scp.ae_title, host="127.0.0.1", port=link.port, timeout_s=5)
        started = time.monotonic()
        assert send(large, peer).state == "delivered"
        assert time.monotonic() - started > peer.timeout_s, "the line was not thin: the test would prove nothing"


def test_several_results_share_one_association(spooled: Result, large: Result, fresh: Result) -> None:
    with ScriptedScp([0x0000, 0xA700, 0x0000]) as scp:
        outcomes = deliver_all([spooled, large, fresh], scp.peer(), calling_ae="VOXTELL", name="pacs")
        assert [o.state for o in outcomes] == ["delivered", "retry", "delivered"]
        assert scp.associations == 1


def test_what_follows_a_lost_link_is_sent_again(spooled: Result, large: Result) -> None:
    with ScriptedScp(["abort"]) as scp:
        outcomes = deliver_all([spooled, large], scp.peer(), calling_ae="VOXTELL", name="pacs")
    assert [(o.state, o.status) for o in outcomes] == [("retry", "lost link")] * 2


def test_a_peer_without_an_address_is_a_setting_to_mend(spooled: Result) -> None:
    outcome = send(spooled, Peer(ae_title="SENDER"))
    assert (outcome.state, outcome.status) == ("failed", "settings")
    assert "'host'" in outcome.message


def test_a_file_that_changed_is_never_sent(spooled: Result, fresh: Result) -> None:
    with fresh.path.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x07")
    gone = replace(spooled, path=spooled.path.with_name("gone.dcm"))
    with ScriptedScp() as scp:
        outcomes = deliver_all([fresh, gone, spooled], scp.peer(), calling_ae="VOXTELL", name="pacs")
    assert [(o.state, o.status) for o in outcomes[:2]] == [("failed", "changed"), ("failed", "unreadable")]
    assert outcomes[2].state == "delivered"
    assert [s.sop_instance_uid for s in scp.attempts] == [spooled.sop_instance_uid]


def test_associations_and_files_give_one_identity(spooled: Result) -> None:
    """PS3.7 D.3.3.2: whoever sends a result is who wrote it, and who answers a C-ECHO."""
    with ScriptedScp() as scp:
        send(spooled, scp.peer())
        assert ask("pacs", scp.peer(), "VOXTELL").state == "ok"
        assert scp.requestors == {(IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME)}

"""Association requests that pynetdicom would end without a word: each is answered, each refusal is a line of ours."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from tests.hostile import wire
from tests.receive.receiving import Receiver, make_slice
from tests.receive.sending import echoscu, encode

Start = Callable[..., Receiver]
INVALID = {
    "an even context ID": (wire.request(contexts=[wire.context(2)]), "presentation context ID 2: an ID must be odd"),
    "context ID 0": (wire.request(contexts=[wire.context(0)]), "presentation context ID 0"),
    "a context ID twice": (wire.request(contexts=[wire.context(1), wire.context(1)]), "ID 1 is used twice"),
    "no context": (wire.request(contexts=[]), "no presentation context"),
    "no transfer syntax": (wire.request(contexts=[wire.context(1, transfer=[])]), "0 transfer syntaxes"),
    "an item that is cut off": (wire.request(information=b"\x50\0\x01\0abc"), "longer than what it lies in"),
    "less than its fixed part": (wire.pdu(1, b"\0\1\0\0VOXTELL"), "too short"),
    "PDUs too small for an answer": (wire.request(information=wire.user(longest=7)), "at most 7 bytes"),
    "a PDU of 1.5 GB": (b"\x01\0\x60\0\0\0" + bytes(1000), "receive.bounds.pdu_kb"),
    "no PDU type": (b"GET / HTTP/1.1\r\n\r\n", "no PDU has the type 0x47"),
    "data before a request": (wire.echo(), "a PDU out of turn: P-DATA-TF"),
}
ACCEPTED = {
    "NUL-padded titles": wire.request(b"VOXTELL".ljust(16, b"\0"), b"CT1".ljust(16, b"\0")),
    "rubbish behind a NUL": wire.request(b"VOXTELL\0\xff\xfe\x01".ljust(16, b"x"), b"CT1\0\x1b[2J".ljust(16, b"y")),
    "titles on the right": wire.request(b"VOXTELL".rjust(16), b"CT1".rjust(16)),
    "unknown sub-items": wire.request(information=wire.user(wire.item(0xF0, b"private"), wire.item(0x5F, b""))),
    "an unknown item": wire.request(information=wire.user() + wire.item(0x77, b"x" * 100)),
    "no user information": wire.request(information=b""),
    "a version name in Latin-1": wire.request(information=wire.user(wire.item(0x55, "Löwe\n".encode("latin-1")))),
    "user identity and extended negotiation": wire.request(
        information=wire.user(
            wire.item(0x58, b"\x01\x01\0\x04user\0\0"), wire.item(0x56, b"\0\x30"), wire.item(0x54, b"")
        )
    ),
    "UIDs padded with NUL": wire.request(
        contexts=[wire.context(3, wire.VERIFICATION.encode() + b"\0", [wire.IMPLICIT])]
    ),
    "a UID that is none beside a good one": wire.request(
        contexts=[wire.context(1, b"1.2\n\x1b[2J"), wire.context(3, wire.VERIFICATION, ["x\ny", wire.IMPLICIT])]
    ),
}


@pytest.mark.parametrize("case", INVALID)
def test_an_invalid_request_is_aborted_and_named(receiver: Start, case: str) -> None:
    sent, reason = INVALID[case]
    node = receiver(max_associations=1)
    with capture_logs() as logs, wire.connect(node.port, sent) as connection:
        address = f"127.0.0.1:{connection.getsockname()[1]}"
        assert wire.read_pdu(connection)[0] == wire.ABORTED
        assert wire.read_pdu(connection)[0] == 0
        wait_until(lambda: not node.scp._ae.connections)
    (line,) = [line for line in logs if line["log_level"] == "warning"]
    assert (line["event"], line["address"]) == ("connection closed", address)
    assert reason in line["reason"]


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_a_receiver_ignores_is_no_hindrance(receiver: Start, case: str) -> None:
    node = receiver()
    with wire.connect(node.port, ACCEPTED[case]) as connection:
        assert wire.read_pdu(connection)[0] == wire.ACCEPTED
        connection.sendall(wire.echo())
        kind, body = wire.read_pdu(connection)
        assert (kind, wire.status(body)) == (wire.DATA, 0)
        connection.sendall(wire.RELEASE)
        assert wire.read_pdu(connection)[0] == wire.RELEASED


@pytest.mark.parametrize(
    ("called", "calling", "why"),
    [
        (b"VOXTELL", "Röntgen".encode("latin-1"), "calling AE title is no peer"),
        (b"VOXTELL", b"", "calling AE title is no peer"),
        (b"VOXTELL", b"\0", "calling AE title is no peer"),
        (b"VOXTELL", b"CT1\nnode ready", "characters that none may hold"),
        (b"VOXTELL", b"CT1\x1b[2J", "characters that none may hold"),
        (b"VOXTELL", b"CT1\\CT2", "characters that none may hold"),
        (b"", b"CT1", "called AE title is not ours"),
        ("VÖXTELL".encode(), b"CT1", "called AE title is not ours"),
    ],
)
def test_a_title_that_is_none_is_rejected_by_name(receiver: Start, called: bytes, calling: bytes, why: str) -> None:
    node = receiver()
    sent = wire.request(called.ljust(16), calling.ljust(16))
    with capture_logs() as logs, wire.connect(node.port, sent) as connection:
        kind, body = wire.read_pdu(connection)
        assert (kind, body[1:3]) == (wire.REJECTED, b"\x01\x01")
        assert body[3] == (7 if "called" in why else 3)
        assert wire.read_pdu(connection)[0] == 0
    (line,) = [line for line in logs if line["log_level"] == "warning"]
    assert why in line["reason"]


def test_unknown_callers_that_are_let_in_have_the_title_that_they_sent(receiver: Start) -> None:
    node = receiver(accept_unknown=True)
    sent = wire.request(calling="Röntgen".encode("latin-1").ljust(16, b"\0"))
    dataset = encode(make_slice("1.2.3", 1))
    with wire.connect(node.port, sent) as connection:
        assert wire.read_pdu(connection)[0] == wire.ACCEPTED
        connection.sendall(wire.store(dataset, "1.2.3.1"))
        assert wire.status(wire.read_pdu(connection)[1]) == 0
        connection.sendall(wire.RELEASE)
    (done,) = node.wait(1)
    assert done.calling_ae == "Röntgen"


def test_a_hundred_invalid_requests_take_no_slot(receiver: Start) -> None:
    node = receiver(max_associations=1)
    sent = INVALID["an even context ID"][0]
    open_ones = [wire.connect(node.port, sent) for _ in range(100)]
    began = time.monotonic()
    assert echoscu(node.port).returncode == 0
    assert time.monotonic() - began < 10
    for connection in open_ones:
        connection.close()


@pytest.mark.parametrize(
    "message",
    [
        wire.values((1, 3, wire.command(0x0020))),  # C-FIND
        wire.values((1, 3, wire.command(0x8001, **{"0900": b"\0\0", "0120": b"\1\0"}))),  # a response to nothing
        wire.values((1, 3, wire.command(0x7777))),  # no command
        wire.values((1, 3, b"\xff" * 100)),
        wire.values((99, 3, wire.command(0x0001, sop_instance="1.2.3", data=True)), (99, 2, b"")),
        wire.values((1, 3, wire.command(0x0001, data=True)), (1, 2, b"")),  # without an instance UID
        wire.values((1, 3, wire.command(0x0001, sop_instance="1" * 80, data=True)), (1, 2, b"")),
        wire.values((1, 3, wire.command(0x0100, sop_instance="1.2.3", **{"1002": b"\1\0"}))),  # N-EVENT-REPORT
        wire.request(),
    ],
)
def test_a_message_that_is_not_served_ends_the_association_with_a_reason(receiver: Start, message: bytes) -> None:
    node = receiver(max_associations=1)
    with capture_logs() as logs, wire.connect(node.port, wire.request()) as connection:
        assert wire.read_pdu(connection)[0] == wire.ACCEPTED
        connection.sendall(message)
        assert wire.read_pdu(connection)[0] == wire.ABORTED
        assert wire.read_pdu(connection)[0] == 0
        wait_until(lambda: not node.scp._ae.connections)
    (line,) = [line for line in logs if line["log_level"] == "warning"]
    assert line["event"] == "association lost"
    assert line["reason"]
    assert echoscu(node.port).returncode == 0


def test_a_uid_with_control_characters_is_refused_without_them(receiver: Start) -> None:
    node = receiver()
    with wire.connect(node.port, wire.request()) as connection:
        assert wire.read_pdu(connection)[0] == wire.ACCEPTED
        connection.sendall(wire.store(encode(make_slice("1.2.3", 1)), "1.2\x1b[2J\n3"))
        body = wire.read_pdu(connection)[1]
        assert wire.status(body) == 0xA900
        comment = body[body.index(b"SOP Instance UID") :]
        assert b"the request says 1.2?[2J?3" in comment


def wait_until(condition: Callable[[], object], timeout_s: float = 60) -> None:
    """Return when the condition holds; fail after `timeout_s`."""
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.01)

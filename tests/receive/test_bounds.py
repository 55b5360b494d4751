"""What one caller may take: connections, time, bytes, elements. What goes beyond is refused, and named."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from structlog.testing import capture_logs

from tests.hostile import wire
from tests.receive.receiving import Receiver, make_series, make_slice, write_files
from tests.receive.sending import association, deflate, echoscu, encode, send, storescu
from tests.receive.test_requests import wait_until
from voxtell_dicom.config import Bounds
from voxtell_dicom.errors import Refusal
from voxtell_dicom.receive.arrival import read_arrival

Start = Callable[..., Receiver]
EXPLICIT, IMPLICIT, DEFLATED = wire.EXPLICIT, wire.IMPLICIT, "1.2.840.10008.1.2.1.99"
SPECTROSCOPY, PRIVATE = "1.2.840.10008.5.1.4.1.1.4.2", "1.3.12.2.1107.5.9.1"


@pytest.fixture
def opened() -> Iterator[list[socket.socket]]:
    """Connections that are closed at the end."""
    some: list[socket.socket] = []
    yield some
    for one in some:
        one.close()


SILENT = {
    "nothing": [],
    "one byte": [b"\x01"],
    "half a request": [wire.request()[:40]],
    "an association and nothing": [wire.request()],
    "an association and half a PDU": [wire.request(), b"\x04\0\0\0\x40\0half"],
}


@pytest.mark.parametrize("case", SILENT)
def test_good_callers_are_served_beside_two_hundred_silent_ones(
    receiver: Start, opened: list[socket.socket], tmp_path: Path, case: str
) -> None:
    node = receiver(max_associations=250, bounds={"connections_per_address": 230, "request_s": 60})
    if "association" not in case:
        node = receiver(tmp_path / "default", bounds={"request_s": 60})
    for _ in range(200):
        opened.append(wire.connect(node.port, *SILENT[case]))
    series = make_series(3)
    assert storescu(node.port, write_files(tmp_path / "in", series)).returncode == 0
    assert len(node.wait(1)[0].instances) == 3
    assert [echoscu(node.port).returncode for _ in range(5)] == [0] * 5


def test_half_open_connections_cost_next_to_nothing(receiver: Start, opened: list[socket.socket]) -> None:
    """Ten of them took a quarter of a core."""
    node = receiver(bounds={"request_s": 60})
    for number in range(30):
        opened.append(wire.connect(node.port, *list(SILENT.values())[number % len(SILENT)]))
    wait_until(lambda: len(node.scp._ae.connections) == 30)
    time.sleep(0.5)
    before = time.process_time()
    time.sleep(1.5)
    assert time.process_time() - before < 0.2


@pytest.mark.parametrize("sent", [[], [b"\x01"], [wire.request()[:40]]])
def test_who_sends_no_request_is_closed_in_time(receiver: Start, sent: list[bytes]) -> None:
    node = receiver(bounds={"request_s": 0.5})
    with capture_logs() as logs, wire.connect(node.port, *sent) as connection:
        assert connection.recv(1) == b""
        wait_until(lambda: not node.scp._ae.connections)
    (line,) = [line for line in logs if line["log_level"] == "warning"]
    assert "receive.bounds.request_s" in line["reason"]


def test_drops_of_a_pdu_do_not_prolong_it(receiver: Start) -> None:
    node = receiver(bounds={"pdu_s": 0.8})
    with capture_logs() as logs, wire.connect(node.port, wire.request()) as connection:
        assert wire.read_pdu(connection)[0] == wire.ACCEPTED
        connection.sendall(b"\x04\0\0\0\x40\0")
        began = time.monotonic()
        with contextlib.suppress(OSError):
            while not wire.is_closed(connection) and time.monotonic() < began + 60:
                connection.send(b"\0")
                time.sleep(0.1)
        assert time.monotonic() - began < 30
        wait_until(lambda: any(line["event"] == "association lost" for line in logs))
    (line,) = [line for line in logs if line["event"] == "association lost"]
    assert "receive.bounds.pdu_s" in line["reason"]


def test_an_idle_association_ends_in_time_and_its_series_is_whole(receiver: Start) -> None:
    node = receiver(bounds={"idle_s": 0.5}, quiet_s=0.2, incomplete_s=1)
    series = make_series(3)
    with association(node.port, series) as link:
        assert [send(link, ds).Status for ds in series] == [0] * 3
        wait_until(lambda: link.is_aborted)
    (done,) = node.wait(1)
    assert (len(done.instances), done.incomplete) == (3, "")


def test_a_sender_killed_after_the_last_answer_leaves_a_whole_series(receiver: Start) -> None:
    node = receiver(quiet_s=0.2, incomplete_s=1)
    series = make_series(3)
    connection = wire.connect(node.port, wire.request())
    assert wire.read_pdu(connection)[0] == wire.ACCEPTED
    for ds in series:
        connection.sendall(wire.store(encode(ds), ds.SOPInstanceUID))
        assert wire.status(wire.read_pdu(connection)[1]) == 0
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()  # as the kernel does it for a killed process: a reset
    (done,) = node.wait(1)
    assert (len(done.instances), done.incomplete) == (3, "")


def test_an_address_may_have_so_many_associations(receiver: Start, opened: list[socket.socket]) -> None:
    node = receiver(bounds={"connections_per_address": 3})
    for _ in range(3):
        opened.append(wire.connect(node.port, wire.request()))
        assert wire.read_pdu(opened[-1])[0] == wire.ACCEPTED
    with capture_logs() as logs:
        answer = echoscu(node.port)
    assert "Rejected Transient" in answer.stderr
    (line,) = [line for line in logs if line["event"] == "association rejected"]
    assert line["reason"] == "receive.bounds.connections_per_address reached"
    opened.pop().close()
    wait_until(lambda: echoscu(node.port).returncode == 0)


@pytest.mark.parametrize("used", [True, False])
def test_a_long_idle_association_makes_room_at_the_limit(
    receiver: Start, opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch, used: bool
) -> None:
    monkeypatch.setattr(f"voxtell_dicom.network.links.{'' if used else 'UNUSED_'}YIELDS_AFTER_S", 0.5)
    node = receiver(max_associations=2)
    for _ in range(2):
        opened.append(wire.connect(node.port, wire.request()))
        assert wire.read_pdu(opened[-1])[0] == wire.ACCEPTED
        if used:
            opened[-1].sendall(wire.echo())
            assert wire.status(wire.read_pdu(opened[-1])[1]) == 0
    wait_until(lambda: echoscu(node.port).returncode == 0)
    assert wire.read_pdu(opened[0])[0] == wire.ABORTED
    assert not wire.is_closed(opened[1])


def test_a_caller_is_let_in_where_its_address_has_two_hundred_unused_associations(
    receiver: Start, opened: list[socket.socket]
) -> None:
    node = receiver()
    for _ in range(200):
        opened.append(wire.connect(node.port, wire.request()))
    wait_until(lambda: echoscu(node.port).returncode == 0)


@pytest.mark.parametrize("case", SILENT)
def test_the_node_stops_in_time_beside_silent_callers(receiver: Start, opened: list[socket.socket], case: str) -> None:
    node = receiver()
    for _ in range(30):
        opened.append(wire.connect(node.port, *SILENT[case]))
    wait_until(lambda: len(node.scp._ae.connections) == 30)
    began = time.monotonic()
    node.scp.stop(0.2)
    assert time.monotonic() - began < 10
    assert not node.scp._ae.connections


def test_requests_without_waiting_for_answers_are_held_back_and_answered(receiver: Start) -> None:
    node = receiver()
    series = make_series(40)
    with wire.connect(node.port, wire.request()) as connection:
        assert wire.read_pdu(connection)[0] == wire.ACCEPTED
        connection.sendall(b"".join(wire.store(encode(ds), ds.SOPInstanceUID) for ds in series) + wire.RELEASE)
        assert [wire.status(wire.read_pdu(connection)[1]) for _ in series] == [0] * 40
        assert wire.read_pdu(connection)[0] == wire.RELEASED
    assert len(node.wait(1)[0].instances) == 40


def test_a_dataset_beyond_the_bound_is_refused_and_the_next_is_taken(receiver: Start) -> None:
    node = receiver(bounds={"dataset_mb": 1})
    large, good = make_slice("1.2.3", 1, Rows=1024, Columns=1024, PixelData=bytes(2 << 20)), make_slice("1.2.3", 2)
    with association(node.port, [good]) as link:
        answer = send(link, large)
        assert (answer.Status, "receive.bounds.dataset_mb" in answer.ErrorComment) == (0xC004, True)
        assert send(link, good).Status == 0


def deflated(inflated_mb: int) -> bytes:
    head = encode(make_slice("1.2.3", 1, Rows=8, Columns=8, PixelData=b""))[:-12]
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    size = inflated_mb << 20
    data = packer.compress(head + b"\xe0\x7f\x10\0OW\0\0" + struct.pack("<L", size))
    for _ in range(inflated_mb):
        data += packer.compress(bytes(1 << 20))
    return data + packer.flush()


def many(count: int) -> bytes:
    elements = b"".join(struct.pack("<HH2sHL", 0x0011, 0x1000 + number % 0xE000, b"UL", 4, 7) for number in range(1000))
    return encode(make_slice("1.2.3", 1)) + elements * (count // 1000)


def deep(count: int) -> bytes:
    opening = b"\x40\0\x30\xa7SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff"
    closing = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    return opening * count + closing * count + encode(make_slice("1.2.3", 1))


def within_items(count: int) -> bytes:
    item = b"\xfe\xff\0\xe0" + struct.pack("<L", 12) + struct.pack("<HH2sHL", 0x0011, 0x1000, b"UL", 4, 7)
    sequence = b"\x08\0\x40\x11SQ\0\0" + struct.pack("<L", len(item) * count) + item * count
    return sequence + encode(make_slice("1.2.3", 1))


LARGE = {
    "deflated": (lambda: deflated(300), DEFLATED, "receive.bounds.inflation_ratio"),
    "zeros behind it": (lambda: encode(make_slice("1.2.3", 1)) + bytes(16 << 20), EXPLICIT, "zeros stand behind"),
    "zeros behind it, implicit": (
        lambda: encode(make_slice("1.2.3", 1), IMPLICIT) + bytes(16 << 20),
        IMPLICIT,
        "zeros stand behind",
    ),
    "a million elements": (lambda: many(1_000_000), EXPLICIT, "receive.bounds.elements"),
    "a million elements in items": (lambda: within_items(500_000), EXPLICIT, "receive.bounds.elements"),
    "sequences in sequences": (lambda: deep(5000), EXPLICIT, "deeper than 64"),
}


@pytest.mark.parametrize("case", LARGE)
def test_a_dataset_that_takes_too_much_is_refused_soon(case: str) -> None:
    make, syntax, bound = LARGE[case]
    data = make()
    began = time.process_time()
    with pytest.raises(Refusal, match=bound.replace(".", r"\.")) as refusal:
        read_arrival(data, syntax)
    assert refusal.value.code == "too-large"
    assert time.process_time() - began < 5


def test_what_real_objects_hold_is_within_the_bounds() -> None:
    assert Bounds().elements >= 300_000
    assert read_arrival(within_items(100_000), EXPLICIT).series_uid == "1.2.3"
    assert read_arrival(deep(40), EXPLICIT).series_uid == "1.2.3"
    assert read_arrival(encode(make_slice("1.2.3", 1)) + bytes(512), EXPLICIT).series_uid == "1.2.3"
    mask = make_slice("1.2.3", 1, Rows=1024, Columns=1024, NumberOfFrames=16, PixelData=bytes(32 << 20))
    assert read_arrival(deflate(encode(mask)), DEFLATED).frames == 16


def element(vr: bytes, tag: tuple[int, int] = (0x0009, 0x1001)) -> bytes:
    return struct.pack("<HH2sH", *tag, vr, 2) + b"ab"


@pytest.mark.parametrize("vr", [b"ZZ", b"AB", b"XX", b"QQ"])
@pytest.mark.parametrize("place", ["top", "behind the pixels", "item", "item of defined length"])
def test_an_unknown_vr_is_refused_by_name(vr: bytes, place: str) -> None:
    data, odd = encode(make_slice("1.2.3", 1)), element(vr)
    items = b"\xfe\xff\0\xe0" + struct.pack("<L", len(odd)) + odd
    data = {
        "top": odd + data,
        "behind the pixels": data + element(vr, (0xFFFC, 0xFFFC)),
        "item": b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff" + items + b"\xfe\xff\xdd\xe0\0\0\0\0" + data,
        "item of defined length": b"\x08\0\x40\x11SQ\0\0" + struct.pack("<L", len(items)) + items + data,
    }[place]
    with pytest.raises(Refusal, match=rf"the VR '{vr.decode()}' of \(....,....\) is none of DICOM's") as refusal:
        read_arrival(data, EXPLICIT)
    assert refusal.value.code == "unreadable"


def test_items_in_implicit_vr_within_explicit_are_read_as_pydicom_does() -> None:
    """Some scanners write private sequences so."""
    inner = struct.pack("<HHL", 0x0011, 0x1000, 4) + b"abcd"
    item = b"\xfe\xff\0\xe0" + struct.pack("<L", len(inner)) + inner
    for length in (struct.pack("<L", len(item)), b"\xff\xff\xff\xff"):
        end = b"" if length != b"\xff\xff\xff\xff" else b"\xfe\xff\xdd\xe0\0\0\0\0"
        data = b"\x09\0\x10\x11SQ\0\0" + length + item + end + encode(make_slice("1.2.3", 1))
        assert read_arrival(data, EXPLICIT).series_uid == "1.2.3"


@pytest.mark.parametrize(
    "odd",
    [
        b"\xfe\xff\xdd\xe0\0\0\0\0",  # a delimiter too many
        b"\x09\0\x10\x11\x04\0\0\0abcd",  # a VR that is none: an element in implicit VR
        b"\x09\0\x10\x11OB\0\0\xff\xff\xff\xffno items\xfe\xff\xdd\xe0\0\0\0\0",
        b"\x09\0\x10\x11SQ\0\0\x08\0\0\0no items",
    ],
)
def test_what_pydicom_reads_is_read(odd: bytes) -> None:
    """Each of these has been seen in files of scanners, or is read by pydicom in the same way."""
    data = element(b"LO", (0x0008, 0x0070)) + odd + encode(make_slice("1.2.3", 1))
    assert read_arrival(data, EXPLICIT).series_uid == "1.2.3"
    assert read_dataset(BytesIO(data), False, True).SeriesInstanceUID == "1.2.3"


def spectroscopy() -> Dataset:
    """MR Spectroscopy has Rows and Columns, Spectroscopy Data, and no Pixel Data (PS3.3 A.36.3)."""
    ds = make_slice("1.2.5", 1, SOPClassUID=SPECTROSCOPY, Modality="MR", Rows=1, Columns=1)
    del ds.PixelData
    ds.SpectroscopyData = bytes(512)
    return ds


def private(number: int = 100, sop_class: str = PRIVATE) -> Dataset:
    ds = make_slice("1.2.3", number, SOPClassUID=sop_class)
    del ds.PixelData
    return ds


def test_spectroscopy_is_stored_and_set_aside_by_name(receiver: Start, tmp_path: Path) -> None:
    node = receiver()
    with capture_logs() as logs:
        assert storescu(node.port, write_files(tmp_path / "in", [spectroscopy()])).returncode == 0
    (line,) = [line for line in logs if "set aside" in line["event"]]
    assert line["sop_class"] == "MR Spectroscopy Storage"
    assert node.archive.count() == 1
    missing_pixels = make_slice("1.2.6", 1)
    del missing_pixels.PixelData
    with pytest.raises(Refusal, match="no pixel data"):
        read_arrival(encode(missing_pixels), EXPLICIT)


STORESCU_CONTEXTS = f"""
[[TransferSyntaxes]]
[Native]
TransferSyntax1 = LittleEndianExplicit
[[PresentationContexts]]
[All]
PresentationContext1 = CTImageStorage\\Native
PresentationContext2 = {PRIVATE}\\Native
[[Profiles]]
[Default]
PresentationContexts = All
"""


@pytest.mark.parametrize("program", ["storescu", "dcmsend"])
def test_a_private_class_does_not_stop_a_sender(receiver: Start, tmp_path: Path, program: str) -> None:
    node = receiver()
    files = write_files(tmp_path / "in", [*make_series(5, "1.2.3"), private(), *make_series(5, "1.2.4")])
    (tmp_path / "contexts.cfg").write_text(STORESCU_CONTEXTS)
    options = ["-xf", str(tmp_path / "contexts.cfg"), "Default"] if program == "storescu" else []
    command = [program, *options, "-aet", "CT1", "-aec", "VOXTELL", "127.0.0.1", str(node.port)]
    with capture_logs() as logs:
        subprocess.run([*command, *map(str, files)], capture_output=True, timeout=60, check=True)
    assert node.archive.count() == 11
    (line,) = [line for line in logs if line.get("sop_class_uid") == PRIVATE]
    assert (line["event"], line["calling_ae"]) == ("instances are set aside, their class starts no work", "CT1")


@pytest.mark.parametrize("sop_class", ["1.2.3.4.5.6.7", "1.2.840.10008.5.1.4.1.1.4711"])
def test_a_class_that_nobody_knows_is_taken_from_peers_only(receiver: Start, tmp_path: Path, sop_class: str) -> None:
    node = receiver(accept_unknown=True)
    ds = private(100, sop_class)
    with association(node.port, [make_slice("1.2.3", 1), ds]) as link, capture_logs() as logs:
        assert send(link, ds).Status == 0
        assert send(link, private(101, sop_class)).Status == 0
    (line,) = [line for line in logs if line.get("sop_class_uid") == sop_class]
    assert line["event"] == "instances of a class that is none of the standard's"
    with association(node.port, [make_slice("1.2.3", 1), ds], "STRANGER") as link:
        assert [str(cx.abstract_syntax) for cx in link.rejected_contexts] == [sop_class]
    strict = receiver(tmp_path / "strict", any_class_from_peers=False)
    with association(strict.port, [make_slice("1.2.3", 1), ds]) as link:
        assert [str(cx.abstract_syntax) for cx in link.rejected_contexts] == [sop_class]


def test_services_that_are_not_storage_are_offered_to_nobody(receiver: Start) -> None:
    node = receiver()
    others = [
        "1.2.840.10008.5.1.4.1.2.2.1",
        "1.2.840.10008.1.20.1",
        "1.2.840.10008.5.1.4.31",
        "1.2.840.10008.3.1.2.3.3",
    ]
    contexts = [wire.context(2 * number + 1, uid) for number, uid in enumerate([wire.CT, *others])]
    with wire.connect(node.port, wire.request(contexts=contexts)) as connection:
        kind, body = wire.read_pdu(connection)
        assert kind == wire.ACCEPTED
        answers = [body[at + 4 : at + 7] for at in range(68, len(body) - 7) if body[at : at + 2] == b"\x21\0"]
        assert [(answer[0], answer[2]) for answer in answers] == [(1, 0), (3, 3), (5, 3), (7, 3), (9, 3)]
        connection.sendall(wire.store(b"", "1.2.3", 3, others[0]))
        assert wire.read_pdu(connection)[0] == wire.ABORTED


def test_the_page_names_every_bound_with_its_default() -> None:
    page = (Path(__file__).parents[2] / "docs/reception.md").read_text(encoding="utf-8")
    for name, field in Bounds.model_fields.items():
        assert f"| `{name}` | {field.default} |" in page

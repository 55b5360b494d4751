"""Our loops in pynetdicom's associations: every way in which an association ends, and that nothing is left behind."""

from __future__ import annotations

import logging
import os
import queue
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynetdicom
import pytest
from pydicom.uid import CTImageStorage
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE

from tests.network.conftest import Scp, wait_until
from voxtell_dicom.network.association_loops import DataTransfer, _receive
from voxtell_dicom.network.wake_up import SignallingQueue, WakeUp

Start = Callable[..., Scp]
Connect = Callable[..., Association]
CERTIFICATES = Path(pynetdicom.__file__).parent / "tests/cert_files"


def echo(association: Association) -> int:
    return int(association.send_c_echo().Status)


def test_messages_then_release(start_scp: Start, connect: Connect) -> None:
    scp = start_scp()
    link = connect(scp)
    assert [echo(link) for _ in range(20)] == [0] * 20
    link.release()
    assert link.is_released
    assert scp.ends.get(timeout=60) == "released"
    wait_until(lambda: not scp.open())
    assert not link.dul.is_alive()


def test_release_by_the_acceptor(start_scp: Start, connect: Connect) -> None:
    scp = start_scp()
    link = connect(scp)
    wait_until(lambda: scp.open() and scp.open()[0].is_established)
    scp.open()[0].release()
    wait_until(lambda: link.is_released)
    assert scp.ends.get(timeout=60) == "released"


def test_abort_by_either_side(start_scp: Start, connect: Connect) -> None:
    scp = start_scp()
    connect(scp).abort()
    assert scp.ends.get(timeout=60) == "aborted"
    wait_until(lambda: not scp.open())
    link = connect(scp)
    wait_until(lambda: scp.open() and scp.open()[0].is_established)
    scp.open()[0].abort()
    wait_until(lambda: link.is_aborted)
    wait_until(lambda: not scp.open())


def store(association: Association, data: bytes) -> int:
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = CTImageStorage, "1.2.3"
    request.DataSet = BytesIO(data)
    association._reactor_checkpoint.clear()
    wait_until(lambda: association._is_paused)
    association.dimse.send_msg(request, association.accepted_contexts[1].context_id)
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    assert answer is not None
    return int(answer.Status)


@pytest.mark.parametrize("listening", [False, True], ids=["nobody listens to PDUs", "somebody does"])
def test_data_arrive_byte_for_byte(start_scp: Start, connect: Connect, listening: bool) -> None:
    scp = start_scp()
    seen: list[evt.Event] = []
    if listening:
        scp.entity._servers[0].bind(evt.EVT_PDU_RECV, seen.append)
    link = connect(scp)
    sizes = (2, 4096, 131_072 - 12, 131_072, 3_000_000)
    for size in sizes:
        data = os.urandom(size)
        assert store(link, data) == 0
        assert scp.stored[-1] == data
    assert bool(seen) is listening
    link.release()


def raw_connection(scp: Scp, *sent: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", scp.port), timeout=60)
    for data in sent:
        connection.sendall(data)
    return connection


def association_request(connect: Connect, scp: Scp) -> bytes:
    """The bytes of an A-ASSOCIATE-RQ, as pynetdicom sends it. One association stays open."""
    sent: list[bytes] = []
    entity = connect(scp).ae
    handlers: list[Any] = [(evt.EVT_DATA_SENT, lambda event: sent.append(event.data))]
    link = entity.associate("127.0.0.1", scp.port, evt_handlers=handlers)
    link.release()
    wait_until(lambda: len(scp.open()) == 1)
    return sent[0]


def end_of(connection: socket.socket) -> bytes:
    """Return the bytes that the SCP sends before it closes the connection."""
    received = b""
    with connection:
        try:
            while data := connection.recv(4096):
                received += data
        except ConnectionResetError:
            pass
    return received


def test_a_close_inside_a_pdu_ends_the_association(start_scp: Start, connect: Connect) -> None:
    scp = start_scp()
    request = association_request(connect, scp)
    scp.ends.queue.clear()
    connection = raw_connection(scp, request)
    assert connection.recv(4096)[0] == 0x02
    connection.sendall(b"\x04\x00\x00\x00\x40\x00half")
    wait_until(lambda: len(scp.open()) == 2)
    connection.close()
    wait_until(lambda: len(scp.open()) == 1)
    assert "aborted" in scp.ends.queue


@pytest.mark.parametrize(
    "pdu",
    [
        b"\x04\x00\x00\x00\x00\x05\x00\x00\x00\x09\x01",  # an item longer than the PDU
        b"\x04\x00\x00\x00\x00\x05\x00\x00\x00\x01\x01",  # an item without a message control header
        b"\x04\x00\x00\x00\x00\x03\x00\x00\x00",  # less than an item header
        b"\x09\x00\x00\x00\x00\x00",  # no PDU type
        b"\x01\x00\x00\x00\x00\x02\x00\x00",  # a broken request in an association
    ],
)
def test_what_is_no_pdu_is_aborted(start_scp: Start, connect: Connect, pdu: bytes) -> None:
    scp = start_scp()
    request = association_request(connect, scp)
    connection = raw_connection(scp, request)
    assert connection.recv(4096)[0] == 0x02
    connection.sendall(pdu)
    assert end_of(connection)[0] == 0x07
    assert echo(connect(scp)) == 0


@pytest.mark.parametrize("silent_after", [b"\x04\x00\x00\x00\x40\x00half", b"\x04\x00", b""])
def test_half_a_pdu_and_silence_end_the_association(start_scp: Start, connect: Connect, silent_after: bytes) -> None:
    """pynetdicom waits for the rest without end, and none of its timeouts ends that."""
    scp = start_scp(silence_s=2)
    request = association_request(connect, scp)
    connection = raw_connection(scp, request)
    assert connection.recv(4096)[0] == 0x02
    wait_until(lambda: len(scp.open()) == 2)
    if not silent_after:  # between two PDUs silence is allowed
        time.sleep(3)
        assert len(scp.open()) == 2
        return
    connection.sendall(silent_after)
    wait_until(lambda: len(scp.open()) == 1)
    end_of(connection)


def test_half_a_request_and_silence_free_the_slot(start_scp: Start, connect: Connect) -> None:
    scp = start_scp(silence_s=1)
    request = association_request(connect, scp)
    scp.entity.acse_timeout = 0.3  # for the next association
    connection = raw_connection(scp, request[:40])
    wait_until(lambda: len(scp.open()) == 2)
    wait_until(lambda: len(scp.open()) == 1)
    connection.close()


def test_a_connection_without_a_request_is_closed_by_artim(start_scp: Start) -> None:
    scp = start_scp(acse_timeout=0.3)
    assert end_of(raw_connection(scp)) == b""
    wait_until(lambda: not scp.open())


def test_network_timeout(start_scp: Start, connect: Connect) -> None:
    scp = start_scp()
    link = connect(scp)
    wait_until(lambda: scp.open() and scp.open()[0].is_established)
    scp.open()[0].network_timeout = 0.3
    assert scp.ends.get(timeout=60) == "aborted"
    wait_until(lambda: link.is_aborted)
    wait_until(lambda: not scp.open())


def test_network_timeout_of_the_requestor_can_release(start_scp: Start, connect: Connect) -> None:
    scp = start_scp()
    link = connect(scp)
    link.network_timeout_response = "A-RELEASE"
    link.network_timeout = 0.3
    assert scp.ends.get(timeout=60) == "released"
    wait_until(lambda: link.is_released)


def test_a_shutdown_with_twenty_open_associations(start_scp: Start, connect: Connect) -> None:
    scp = start_scp()
    links = [connect(scp) for _ in range(20)]
    wait_until(lambda: len(scp.open()) == 20)
    scp.entity.shutdown()
    wait_until(lambda: all(link.is_aborted for link in links))
    wait_until(lambda: not scp.open())


def test_150_associations_leave_no_descriptor_and_no_thread(start_scp: Start, connect: Connect) -> None:
    scp = start_scp()

    def used() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    connect(scp).release()
    wait_until(lambda: not scp.open())
    before = used()
    for number in range(150):
        link = connect(scp)
        assert echo(link) == 0
        link.abort() if number % 3 == 0 else link.release()
    wait_until(lambda: used() <= before)


def test_tls(start_scp: Start, connect: Connect) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(CERTIFICATES / "server.crt", CERTIFICATES / "server.key")
    client = ssl.create_default_context(cafile=str(CERTIFICATES / "server.crt"))
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    scp = start_scp(ssl_context=server)
    link = connect(scp, tls_args=(client, None))
    assert echo(link) == 0
    for size in (10, 100_000, 1_000_000):
        data = os.urandom(size)
        assert store(link, data) == 0
        assert scp.stored[-1] == data
    link.release()
    assert scp.ends.get(timeout=60) == "released"


def test_idle_associations_cost_nothing(start_scp: Start, connect: Connect) -> None:
    """pynetdicom's own loops take 60 % of a core for eight acceptors; here both sides are in this process."""
    scp = start_scp()
    links = [connect(scp) for _ in range(8)]
    wait_until(lambda: len(scp.open()) == 8)
    time.sleep(0.5)
    before = time.process_time()
    time.sleep(2)
    assert time.process_time() - before < 0.2
    assert [echo(link) for link in links] == [0] * 8


def test_an_exception_in_the_upper_layer_aborts(
    start_scp: Start, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    scp = start_scp()
    link = connect(scp)
    wait_until(lambda: scp.open() and scp.open()[0].is_established)
    (acceptor,) = scp.open()

    def fail() -> None:
        raise RuntimeError("broken")

    acceptor.dul._read_pdu_data = fail  # type: ignore[method-assign]
    with caplog.at_level(logging.ERROR, logger="pynetdicom"):
        link.dimse_timeout = 60
        assert "Status" not in link.send_c_echo()
    wait_until(lambda: not scp.open())
    assert "Exception in the Upper Layer" in caplog.text


UNTESTED_RELEASE = """
import pynetdicom
from structlog.testing import capture_logs
pynetdicom.__version__ = "3.0.5"
from pynetdicom import evt
from pynetdicom.dul import DULServiceProvider
from pynetdicom.sop_class import Verification
plain = DULServiceProvider.run_reactor
from voxtell_dicom.network import association_loops
from voxtell_dicom.network.associations import new_entity
with capture_logs() as logs:
    assert not association_loops.install() and not association_loops.install()
    entity = new_entity("X")
assert DULServiceProvider.run_reactor is plain
(line,) = logs
assert line["log_level"] == "warning" and line["tested"] == "3.0.4", line
entity.add_supported_context(Verification)
entity.add_requested_context(Verification)
server = entity.start_server(("127.0.0.1", 0), block=False)
link = entity.associate("127.0.0.1", server.server_address[1])
assert link.send_c_echo().Status == 0
link.release()
server.shutdown()
"""


def test_an_untested_release_of_pynetdicom_keeps_its_own_loops() -> None:
    done = subprocess.run([sys.executable, "-c", UNTESTED_RELEASE], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_wake_up_is_seen_before_during_and_after() -> None:
    wake_up = WakeUp()
    wake_up.set()
    descriptor = wake_up.open()
    assert os.eventfd_read(descriptor) == 1
    os.eventfd_write(descriptor, 1)
    wake_up.clear()
    wake_up.set()  # by the thread that waits: it need not be woken
    with pytest.raises(BlockingIOError):
        os.eventfd_read(descriptor)
    for _ in range(2):
        thread = threading.Thread(target=wake_up.set)
        thread.start()
        thread.join()
    assert os.eventfd_read(descriptor) == 1
    wake_up.close()
    wake_up.set()
    wake_up.close()


def test_a_queue_signals_each_item() -> None:
    signals: queue.Queue[int] = queue.Queue()
    items: SignallingQueue[str] = SignallingQueue(lambda: signals.put(items.qsize()))
    items.put("a")
    items.put_nowait("b")
    assert list(signals.queue) == [1, 2]


def test_values_of_a_pdu() -> None:
    items = [(1, b"\x03ab"), (5, b"\x00"), (255, b"\x02" + bytes(1000))]
    body = b"".join(struct.pack(">LB", len(value) + 1, context) + value for context, value in items)
    primitive = DataTransfer(bytearray(b"\x04\x00" + struct.pack(">L", len(body)) + body)).to_primitive()
    assert [(context, bytes(value)) for context, value in primitive.presentation_data_value_list] == items
    with pytest.raises((ValueError, struct.error)):
        DataTransfer(bytearray(b"\x04\x00" + struct.pack(">L", len(body)) + body[:-1]))


def test_a_length_field_alone_takes_no_memory() -> None:
    near, far = socket.socketpair()
    far.sendall(b"ten bytes.")
    far.close()
    with near:
        assert _receive(SimpleNamespace(socket=near), 0xFFFFFFFF) == b"ten bytes."

"""PDUs as their bytes come: in any pieces, within bounds of size and time."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from voxtell_dicom.network.pdu_reader import ConnectionEnded, PduFault, PduReader, discard

PDUS = [b"\x05\0\0\0\0\x04\0\0\0\0", b"\x04\0" + struct.pack(">L", 300_000) + bytes(range(256)) * 1171 + bytes(224)]


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    near.settimeout(60)
    with near, far:
        yield near, far


@pytest.mark.parametrize("piece", [1, 5, 6, 7, 4096, 300_016])
def test_pieces_of_any_size(ends: tuple[socket.socket, socket.socket], piece: int) -> None:
    near, far = ends
    reader, found = PduReader(1 << 20, 60), []
    data = b"".join(PDUS) if piece > 7 else PDUS[0] * 3
    for start in range(0, len(data), piece):
        far.setblocking(False)
        rest = data[start : start + piece]
        while rest:
            rest = rest[far.send(rest[:8192]) :]
            while whole := reader.read(near):
                found.append(bytes(whole))
    assert found == (PDUS if piece > 7 else PDUS[:1] * 3)
    assert reader.remaining_s is None


@pytest.mark.parametrize("timeout", [60, None])
def test_nothing_to_read_does_not_wait(ends: tuple[socket.socket, socket.socket], timeout: float | None) -> None:
    near, _ = ends
    near.settimeout(timeout)
    assert PduReader(1 << 20, 60).read(near) is None
    assert discard(near)


def test_bounds(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    now = [100.0]
    reader = PduReader(1024, 5, clock=lambda: now[0])
    reader.check_time()
    far.sendall(b"\x04")
    assert reader.read(near) is None
    now[0] += 4.9
    far.sendall(b"\0\0\0")
    assert reader.read(near) is None
    reader.check_time()
    now[0] += 0.2
    with pytest.raises(PduFault, match=r"not whole after 5 s \(receive.bounds.pdu_s\): 4 of unknown bytes"):
        reader.check_time()
    far.sendall(b"\x04\x01")
    with pytest.raises(PduFault, match="a PDU of 1025 bytes"):
        reader.read(near)
    far.close()
    with pytest.raises(ConnectionEnded, match="inside a PDU"):
        reader.read(near)
    with pytest.raises(ConnectionEnded, match=r"^$"):
        PduReader(1024, 5).read(near)
    assert not discard(near)

"""Associations that we request: what stands, and why none does."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest
from pynetdicom import build_context, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from tests.network.conftest import Scp
from tests.system.peers.ports import free_port
from tests.system.peers.scripted_scp import ScriptedScp
from voxtell_dicom.config import Peer
from voxtell_dicom.dicom.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from voxtell_dicom.errors import ConfigError
from voxtell_dicom.network.associations import AssociationRequest, NotOpened, NotOpenedReason, open_association

ECHO = build_context("1.2.840.10008.1.1")
SEG = build_context("1.2.840.10008.5.1.4.1.1.66.4")


def request(*contexts: PresentationContext, timeout_s: float = 60) -> AssociationRequest:
    return AssociationRequest("US", contexts or (SEG,), timeout_s)


def peer(port: int, host: str = "127.0.0.1") -> Peer:
    return Peer(ae_title="THEM", host=host, port=port)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield int(listening.getsockname()[1])


def test_an_association_has_our_identity_and_options(start_scp: Callable[..., Scp]) -> None:
    scp = start_scp()
    requests: list[evt.Event] = []
    scp.entity._servers[0].bind(evt.EVT_REQUESTED, requests.append)
    opened = open_association(peer(scp.port), request(ECHO, timeout_s=7))
    assert isinstance(opened, Association)
    requestor = requests[0].assoc.requestor
    assert (requestor.ae_title, requestor.primitive.called_ae_title) == ("US", "THEM")
    assert requestor.implementation_class_uid == IMPLEMENTATION_CLASS_UID
    assert requestor.implementation_version_name == IMPLEMENTATION_VERSION_NAME
    assert requestor.maximum_length == 131_072
    assert (opened.connection_timeout, opened.acse_timeout, opened.dimse_timeout) == (7, 7, 7)
    transport = opened.dul.socket
    assert transport is not None
    assert transport.socket is not None
    assert transport.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    assert transport.socket.gettimeout() == 60
    assert opened.send_c_echo().Status == 0
    opened.release()


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("reject transient", NotOpened(NotOpenedReason.REJECTED_TRANSIENT, "Local limit exceeded", (3, 2))),
        ("reject permanent", NotOpened(NotOpenedReason.REJECTED_PERMANENT, "Called AE title not recognised", (1, 7))),
        ("refuse context", NotOpened(NotOpenedReason.CONTEXTS_REFUSED)),
    ],
)
def test_a_peer_that_refuses(step: str, expected: NotOpened) -> None:
    with ScriptedScp([step]) as scp:
        assert open_association(scp.peer(), request()) == expected


def test_nobody_there() -> None:
    assert open_association(peer(free_port()), request()) == NotOpened(NotOpenedReason.NO_CONNECTION)
    opened = open_association(peer(104, "no-such-host.invalid"), request())
    assert isinstance(opened, NotOpened)
    assert opened.reason is NotOpenedReason.NAME_NOT_RESOLVED
    assert opened.detail


def test_a_peer_that_never_answers(silent_port: int) -> None:
    opened = open_association(peer(silent_port), request(timeout_s=0.3))
    assert opened == NotOpened(NotOpenedReason.NO_ANSWER)


def test_a_peer_without_an_address_is_an_error_of_the_settings() -> None:
    with pytest.raises(ConfigError, match="'host'"):
        open_association(Peer(ae_title="SENDER"), request())

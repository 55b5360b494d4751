"""A Verification and CT Storage SCP on pynetdicom, with our loops."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.transport import ThreadedAssociationServer

from voxtell_dicom.network import association_loops
from voxtell_dicom.network.associations import new_entity, prepare_connection

VERIFICATION = UID("1.2.840.10008.1.1")
ENDS = {evt.EVT_RELEASED: "released", evt.EVT_ABORTED: "aborted", evt.EVT_REJECTED: "rejected"}


def wait_until(condition: Callable[[], object], timeout_s: float = 60) -> None:
    """Return when the condition holds; fail after `timeout_s`."""
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.005)


@dataclass
class Scp:
    """A running SCP: its port, how associations ended, and the bytes that were stored."""

    entity: AE
    port: int = 0
    ends: queue.Queue[str] = field(default_factory=queue.Queue)
    stored: list[bytes] = field(default_factory=list)

    def open(self) -> list[Association]:
        """The associations whose threads run."""
        return [thread for thread in threading.enumerate() if isinstance(thread, Association) and self.holds(thread)]

    def holds(self, association: Association) -> bool:
        return association.ae is self.entity


@pytest.fixture
def start_scp() -> Iterator[Callable[..., Scp]]:
    """Start SCPs; `silence_s` as in `prepare_connection`, more keywords are attributes of the entity."""
    assert association_loops.install()
    started: list[Scp] = []

    def start(*, silence_s: float = 60, ssl_context: Any = None, **attributes: Any) -> Scp:
        scp = Scp(new_entity("SCP"))
        scp.entity.maximum_associations = 200
        scp.entity.network_timeout = None
        for name, value in attributes.items():
            setattr(scp.entity, name, value)
        scp.entity.add_supported_context(VERIFICATION)
        scp.entity.add_supported_context(CTImageStorage, ExplicitVRLittleEndian)

        def store(event: evt.Event) -> int:
            scp.stored.append(event.encoded_dataset(include_meta=False))
            return 0x0000

        handlers: list[Any] = [(evt.EVT_CONN_OPEN, prepare_connection, [silence_s]), (evt.EVT_C_STORE, store)]
        handlers += [(event, lambda _, end=end: scp.ends.put(end)) for event, end in ENDS.items()]
        server = scp.entity.make_server(
            ("127.0.0.1", 0),
            evt_handlers=handlers,
            ssl_context=ssl_context,
            server_class=ThreadedAssociationServer,
        )
        scp.entity._servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        scp.port = server.server_address[1]
        started.append(scp)
        return scp

    yield start
    for scp in started:
        scp.entity.shutdown()


@pytest.fixture
def connect() -> Iterator[Callable[..., Association]]:
    """Request associations from an SCP; those that stand at the end are aborted."""
    opened: list[Association] = []

    def request(scp: Scp, *, tls_args: Any = None, **attributes: Any) -> Association:
        entity = new_entity("SCU")
        entity.network_timeout = None
        for name, value in attributes.items():
            setattr(entity, name, value)
        entity.add_requested_context(VERIFICATION)
        entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        opened.append(entity.associate("127.0.0.1", scp.port, tls_args=tls_args))
        assert opened[-1].is_established
        return opened[-1]

    yield request
    for association in opened:
        if association.is_established:
            association.abort()

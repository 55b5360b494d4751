"""A Storage SCP that answers by script: each step once, in order, then success."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID, AllTransferSyntaxes
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.presentation import build_context
from pynetdicom.transport import ThreadedAssociationServer

from tests.system.peers.ports import free_port
from voxtell_dicom.config import Peer

STUDY_ROOT_FIND = UID("1.2.840.10008.5.1.4.1.2.2.1")
LABEL_MAP = UID("1.2.840.10008.5.1.4.1.1.66.7")

STORED = {0x0000, 0x0001, 0x0107, 0x0116}
AT_ASSOCIATION = {"reject transient", "reject permanent", "refuse context"}
AT_STORE = {"abort", "drop", "silence"}
Step = int | str


@dataclass(frozen=True)
class Stored:
    """What a C-STORE brought: the data set as it came over the wire."""

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    calling_ae: str
    data: bytes
    status: int

    def part10(self) -> bytes:
        """The same as a file."""
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
            UID(self.sop_class_uid),
            UID(self.sop_instance_uid),
        )
        meta.TransferSyntaxUID = UID(self.transfer_syntax_uid)
        buffer = DicomBytesIO()
        buffer.write(bytes(128) + b"DICM")
        write_file_meta_info(buffer, meta)
        return buffer.getvalue() + self.data


class ScriptedScp:
    """A context manager. A step is a C-STORE status, one of AT_STORE, or one of AT_ASSOCIATION.

    `silence` answers nothing until the other side gives up. Objects answered 0000 or Bxxx are in `stored`, all attempts
    in `attempts`. C-FIND is answered from `holds`, a set of SOP Instance UIDs (the stored ones are added to it);
    `find` = None refuses the C-FIND context, a status is given as the final answer. `only`: SOP Class UID → transfer
    syntaxes in which it is taken; no other is. It may be changed between associations.
    """

    def __init__(
        self,
        steps: Sequence[Step] = (),
        *,
        ae_title: str = "SCRIPTED",
        port: int | None = None,
        find: int | None = 0x0000,
        holds: Sequence[str] = (),
        only: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        unknown = [s for s in steps if isinstance(s, str) and s not in AT_ASSOCIATION | AT_STORE]
        if unknown:
            raise ValueError(f"no such step: {unknown}")
        self.steps: list[Step] = list(steps)
        self.ae_title = ae_title
        self.port = port or free_port()
        self.find = find
        self.rejection = (1, 7)  # Source and Reason/Diag. of "reject permanent" (PS3.8 Table 9-21)
        self.holds = set(holds)
        self.only = only
        self.attempts: list[Stored] = []
        self.associations = 0
        self.requestors: set[tuple[str, str]] = set()  # Implementation Class UID, Implementation Version Name
        self._over = threading.Event()
        self._server: Any = None

    @property
    def stored(self) -> list[Stored]:
        """Return what was answered with success or a warning."""
        return [s for s in self.attempts if s.status in STORED or 0xB000 <= s.status <= 0xBFFF]

    def peer(self, **more: Any) -> Peer:
        """This SCP as a peer of node.yaml."""
        return Peer(ae_title=self.ae_title, host="127.0.0.1", port=self.port, **{"timeout_s": 60, **more})

    def __enter__(self) -> ScriptedScp:
        entity = AE(ae_title=self.ae_title)
        entity.supported_contexts = self._contexts()
        self._server = entity.make_server(
            ("127.0.0.1", self.port),
            server_class=ThreadedAssociationServer,
            evt_handlers=[
                (evt.EVT_REQUESTED, self._on_request),
                (evt.EVT_C_STORE, self._on_store),
                (evt.EVT_C_FIND, self._on_find),
            ],
        )
        entity._servers.append(self._server)
        # As start_server does, but quicker to shut down: its servers look every half second whether they should.
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._server is not None:
            self._server.shutdown()
            self._server = None

    def _contexts(self) -> list[Any]:
        every = dict.fromkeys([*(str(c.abstract_syntax) for c in AllStoragePresentationContexts), LABEL_MAP])
        takes = dict.fromkeys(every, AllTransferSyntaxes) if self.only is None else self.only
        contexts = [build_context(uid, list(syntaxes)) for uid, syntaxes in takes.items()]
        services = ["1.2.840.10008.1.1"] + ([STUDY_ROOT_FIND] if self.find is not None else [])
        return contexts + [build_context(uid) for uid in services]

    def _on_request(self, event: Any) -> None:
        """Runs before the negotiation, so what is set here decides it."""
        self.associations += 1
        requestor = event.assoc.requestor
        self.requestors.add((str(requestor.implementation_class_uid), str(requestor.implementation_version_name)))
        entity = event.assoc.ae
        entity.maximum_associations = 10
        entity.require_called_aet = False
        event.assoc.acceptor.supported_contexts = self._contexts()
        if self.steps and self.steps[0] in AT_ASSOCIATION:
            step = self.steps.pop(0)
            if step == "reject transient":
                entity._maximum_associations = 0  # the setter does not go below 1
            elif step == "reject permanent":
                event.assoc.acse.send_reject(1, *self.rejection)
                event.assoc.kill()
            else:
                event.assoc.acceptor.supported_contexts = [build_context("1.2.840.10008.1.1")]

    def _on_store(self, event: Any) -> int:
        step = self.steps.pop(0) if self.steps and self.steps[0] not in AT_ASSOCIATION else 0x0000
        status = step if isinstance(step, int) else -1
        request = event.request
        stored = Stored(
            str(request.AffectedSOPInstanceUID),
            str(request.AffectedSOPClassUID),
            str(event.context.transfer_syntax),
            event.assoc.requestor.ae_title,
            request.DataSet.getvalue(),
            status,
        )
        self.attempts.append(stored)
        if step == "abort":
            event.assoc.abort()
        elif step == "drop":
            event.assoc.dul.socket.close()
        elif step == "silence":
            self._over.wait(30)
        if status in STORED or 0xB000 <= status <= 0xBFFF:
            self.holds.add(stored.sop_instance_uid)
        return max(status, 0)

    def _on_find(self, event: Any) -> Any:
        uid = str(event.identifier.get("SOPInstanceUID", ""))
        if uid in self.holds:
            answer = Dataset()
            answer.QueryRetrieveLevel = "IMAGE"
            answer.SOPInstanceUID = uid
            yield 0xFF00, answer
        yield self.find, None

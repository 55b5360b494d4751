"""A delivered object fetched back from the peer, for `verify --via`: WADO-RS, C-GET (PS3.4 C.4.3), or a folder."""

from __future__ import annotations

from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import build_context, build_role, evt
from pynetdicom.events import Event

from voxtell_dicom.config import Peer
from voxtell_dicom.deliver import dicomweb
from voxtell_dicom.errors import VoxtellDicomError
from voxtell_dicom.model import Result
from voxtell_dicom.network.associations import AssociationRequest, NotOpened, open_association

_STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"


class RetrieveError(VoxtellDicomError):
    """A peer does not give back what it took: allow us C-GET or WADO-RS there."""

    code = "retrieve"


def retrieve(result: Result, peer: Peer, folder: Path, *, calling_ae: str, name: str) -> Path:
    """Fetch one object by its UIDs and write it into `folder`. Raises RetrieveError if the peer does not give it."""
    out = folder / f"{result.sop_instance_uid}.from-{'-'.join(name.split())}.dcm"
    if peer.folder is not None:
        found = [path for path in peer.folder.rglob("*") if path.is_file() and path.stem == result.sop_instance_uid]
        if not found:
            raise RetrieveError(f"{name}: {result.sop_instance_uid} does not lie below {peer.folder}")
        out.write_bytes(found[0].read_bytes())
        return out
    ds = _by_wado(result, peer, name) if peer.dicomweb is not None else _by_get(result, peer, calling_ae, name)
    ds.save_as(out, enforce_file_format=True)
    return out


def _by_wado(result: Result, peer: Peer, name: str) -> Dataset:
    client = dicomweb._connect(peer)
    try:
        return client.retrieve_instance(result.study_uid, result.series_uid, result.sop_instance_uid)
    except Exception as error:  # requests and dicomweb-client raise many kinds
        raise RetrieveError(f"{name}: WADO-RS of {result.sop_instance_uid}: {type(error).__name__}: {error}") from error
    finally:
        client.close()


def _by_get(result: Result, peer: Peer, calling_ae: str, name: str) -> Dataset:
    received: list[Dataset] = []

    def store(event: Event) -> int:
        ds = event.dataset
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = event.context.transfer_syntax
        received.append(ds)
        return 0x0000

    request = AssociationRequest(
        calling_ae,
        [build_context(_STUDY_ROOT_GET), build_context(result.sop_class_uid, ExplicitVRLittleEndian)],
        peer.timeout_s,
        roles=[build_role(result.sop_class_uid, scp_role=True)],
        handlers=[(evt.EVT_C_STORE, store)],
    )
    association = open_association(peer, request)
    if isinstance(association, NotOpened):
        raise RetrieveError(f"{name}: no association with {peer.ae_title} at {peer.host}:{peer.port} for C-GET")
    query = Dataset()
    query.QueryRetrieveLevel = "IMAGE"
    query.StudyInstanceUID = result.study_uid
    query.SeriesInstanceUID = result.series_uid
    query.SOPInstanceUID = result.sop_instance_uid
    status = "no answer"
    try:
        for answer, _ in association.send_c_get(query, _STUDY_ROOT_GET):
            status = f"{answer.Status:04X}" if "Status" in answer else "the link was lost"
    except ValueError as error:  # the peer accepted no C-GET context
        raise RetrieveError(f"{name}: {peer.ae_title} does not accept C-GET: allow it to {calling_ae}") from error
    finally:
        association.release()
    if not received:
        raise RetrieveError(
            f"{name}: C-GET of {result.sop_instance_uid} gave nothing ({status}): allow it to {calling_ae}"
        )
    return received[0]

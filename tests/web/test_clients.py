"""Other people's clients: dicomweb-client, and Orthanc's DICOMweb plugin, store, search and retrieve."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
import requests
from dicomweb_client.web import DICOMwebClient
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless, SecondaryCaptureImageStorage, generate_uid

from tests.receive.receiving import make_series
from tests.receive.sending import encode
from tests.system.node_process import NodeProcess
from tests.system.peers.orthanc import Orthanc
from tests.web.messages import part10, root, store

QUIET = {"SOPClassUID": SecondaryCaptureImageStorage}


@pytest.fixture(scope="module")
def client(node: NodeProcess) -> DICOMwebClient:
    return DICOMwebClient(root(node))


@pytest.fixture(scope="module")
def peer(node: NodeProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    settings = {
        "DicomWeb": {
            "Enable": True,
            "Root": "/dicom-web/",
            "Servers": {"voxtell": {"Url": f"{root(node)}/", "HasDelete": False}},
        }
    }
    with Orthanc(tmp_path_factory.mktemp("orthanc"), settings=settings) as running:
        yield running


def same(found: Dataset, sent: Dataset) -> bool:
    """Return whether two datasets are the same, byte for byte."""
    return encode(found) == encode(sent)


def test_dicomweb_client_stores_searches_and_retrieves(client: DICOMwebClient) -> None:
    series = make_series(3, study_uid=generate_uid(), SeriesNumber=7, AccessionNumber=generate_uid()[-12:], **QUIET)
    study, uid = series[0].StudyInstanceUID, series[0].SeriesInstanceUID
    answer = client.store_instances(series)
    assert len(answer.ReferencedSOPSequence) == 3
    assert "FailedSOPSequence" not in answer
    [found] = client.search_for_studies(search_filters={"AccessionNumber": series[0].AccessionNumber})
    assert Dataset.from_json(found).StudyInstanceUID == study
    [found] = client.search_for_series(study, search_filters={"SeriesNumber": 7})
    assert Dataset.from_json(found).SeriesInstanceUID == uid
    assert len(client.search_for_instances(study, uid)) == 3
    for found, sent in zip(client.retrieve_series(study, uid), series, strict=True):
        assert same(found, sent)
    assert len(client.retrieve_study(study)) == 3
    metadata = client.retrieve_series_metadata(study, uid)
    assert [Dataset.from_json(one, lambda *_: b"").SOPInstanceUID for one in metadata] == [
        one.SOPInstanceUID for one in series
    ]
    [frame] = client.retrieve_instance_frames(study, uid, series[0].SOPInstanceUID, [1])
    assert frame == series[0].PixelData
    [value] = client.retrieve_bulkdata(metadata[0]["7FE00010"]["BulkDataURI"])
    assert value == series[0].PixelData
    picture = client.retrieve_instance_rendered(study, uid, series[0].SOPInstanceUID, media_types=("image/png",))
    assert picture.startswith(b"\x89PNG")


def test_dicomweb_client_retrieves_what_is_compressed(client: DICOMwebClient, node: NodeProcess) -> None:
    one = make_series(1, study_uid=generate_uid(), **QUIET)[0]
    sent = pydicom.dcmread(io.BytesIO(part10(one)))
    sent.compress(JPEG2000Lossless, generate_instance_uid=False)
    assert store(node, [part10(sent)]).status_code == 200
    uids = one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID
    stored = client.retrieve_instance(*uids, media_types=(("application/dicom", "*"),))
    assert stored.PixelData == sent.PixelData
    plain = client.retrieve_instance(*uids, media_types=(("application/dicom", "1.2.840.10008.1.2.1"),))
    assert np.array_equal(plain.pixel_array, one.pixel_array)
    [frame] = client.retrieve_instance_frames(*uids, [1], media_types=(("image/jp2", str(JPEG2000Lossless)),))
    assert frame == pydicom.encaps.get_frame(sent.PixelData, 0, number_of_frames=1)


def test_orthanc_stores_to_the_node(node: NodeProcess, peer: Orthanc, tmp_path: Path) -> None:
    series = make_series(4, study_uid=generate_uid(), **QUIET)
    for number, one in enumerate(series):
        one.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
        peer.upload(tmp_path / f"{number}.dcm")
    resources = peer.instances(series[0].StudyInstanceUID)
    body = {"Resources": resources, "Synchronous": True}
    answer = requests.post(f"{peer.url}/dicom-web/servers/voxtell/stow", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    found = requests.get(f"{root(node)}/studies/{series[0].StudyInstanceUID}/instances", timeout=30).json()
    assert len(found) == 4


def test_orthanc_searches_and_retrieves_from_the_node(node: NodeProcess, peer: Orthanc) -> None:
    series = make_series(4, study_uid=generate_uid(), **QUIET)
    study = series[0].StudyInstanceUID
    assert store(node, [part10(one) for one in series]).status_code == 200
    server = f"{peer.url}/dicom-web/servers/voxtell"
    asked = {"Uri": "/studies", "Arguments": {"StudyInstanceUID": study}}
    answer = requests.post(f"{server}/qido", json=asked, timeout=60)
    assert answer.status_code == 200, answer.text
    assert study in answer.text, answer.text
    answer = requests.post(f"{server}/retrieve", json={"Resources": [{"Study": study}]}, timeout=60)
    assert answer.status_code == 200, answer.text
    files = [pydicom.dcmread(io.BytesIO(peer.download(one))) for one in peer.instances(study)]
    sent = {one.SOPInstanceUID: one for one in series}
    assert len(files) == 4
    assert all(same(found, sent[found.SOPInstanceUID]) for found in files)

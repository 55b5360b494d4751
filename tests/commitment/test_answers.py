"""Senders that ask us whether we hold what they sent: Orthanc, and pynetdicom on one association."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association
from structlog.testing import capture_logs

from tests.commitment.commit_scp import INSTANCE, PUSH_MODEL
from tests.network.conftest import wait_until
from tests.receive.conftest import receiver
from tests.receive.receiving import Receiver, make_series, write_files
from tests.system.peers.dcmtk import storescu
from tests.system.peers.orthanc import Orthanc
from voxtell_dicom.network.commitment import read_request, request_of

__all__ = ["receiver"]
CT = "1.2.840.10008.5.1.4.1.1.2"
Logs = list[MutableMapping[str, Any]]
Reports = queue.Queue[tuple[int, Dataset]]


@pytest.fixture
def logs() -> Iterator[Logs]:
    with capture_logs() as lines:
        yield lines


def close(association: Association, logs: Logs) -> None:
    """Release once the report is answered: the handler that took it is done a moment earlier."""
    wait_until(lambda: any(line["event"] == "commitment reported" for line in logs))
    logs.clear()
    association.release()


def ask(port: int, instances: list[tuple[str, str]], reports: Reports, action: int = 1) -> tuple[Association, int]:
    """Ask on an association that stays open; the status of the answer."""

    def take(event: evt.Event) -> tuple[int, None]:
        reports.put((event.event_type, event.event_information))
        return 0x0000, None

    entity = AE("CT1")
    entity.add_requested_context(PUSH_MODEL)
    association = entity.associate("127.0.0.1", port, ae_title="VOXTELL", evt_handlers=[(evt.EVT_N_EVENT_REPORT, take)])
    assert association.is_established
    status, _ = association.send_n_action(request_of("2.25.77", instances), action, PUSH_MODEL, INSTANCE)
    return association, int(status.Status)


def test_what_we_hold_and_what_we_do_not_on_the_same_association(
    receiver: Callable[..., Receiver], tmp_path: Path, logs: Logs
) -> None:
    node = receiver(commitment=True)
    files = make_series(3)
    storescu(write_files(tmp_path / "sent", files), node.port, calling="CT1")
    held = [(CT, str(ds.SOPInstanceUID)) for ds in files]
    reports: Reports = queue.Queue()
    association, status = ask(node.port, held, reports)
    assert status == 0x0000
    kind, report = reports.get(timeout=60)
    assert (kind, "FailedSOPSequence" in report) == (1, False)
    assert read_request(report) == ("2.25.77", held)
    close(association, logs)
    wrong = [("1.2.840.10008.5.1.4.1.1.4", held[0][1]), (CT, "1.2.3.404"), held[1]]
    second, status = ask(node.port, wrong, reports)
    kind, report = reports.get(timeout=60)
    assert (status, kind) == (0x0000, 2)
    assert [item.FailureReason for item in report.FailedSOPSequence] == [0x0119, 0x0112]
    assert read_request(report)[1] == [held[1]]
    close(second, logs)


def test_an_instance_whose_file_is_gone_is_not_held(
    receiver: Callable[..., Receiver], tmp_path: Path, logs: Logs
) -> None:
    node = receiver(commitment=True)
    (ds,) = make_series(1)
    storescu(write_files(tmp_path / "sent", [ds]), node.port, calling="CT1")
    (series,) = node.wait(1)
    series.instances[0].path.unlink()
    reports: Reports = queue.Queue()
    association, _ = ask(node.port, [(CT, str(ds.SOPInstanceUID))], reports)
    kind, report = reports.get(timeout=60)
    assert (kind, report.FailedSOPSequence[0].FailureReason) == (2, 0x0112)
    close(association, logs)


@pytest.mark.parametrize(
    ("instances", "action", "status"), [([(CT, "1.2.3")], 7, 0x0123), ([], 1, 0x0115), ([(CT, "")], 1, 0x0115)]
)
def test_requests_that_are_none(
    receiver: Callable[..., Receiver], instances: list[tuple[str, str]], action: int, status: int
) -> None:
    association, found = ask(receiver(commitment=True).port, instances, queue.Queue(), action)
    assert found == status
    association.release()


def test_without_the_setting_there_is_no_such_service(receiver: Callable[..., Receiver]) -> None:
    entity = AE("CT1")
    entity.add_requested_context(PUSH_MODEL)
    assert not entity.associate("127.0.0.1", receiver().port, ae_title="VOXTELL").is_established


def test_orthanc_asks_and_is_told_on_another_association(receiver: Callable[..., Receiver], tmp_path: Path) -> None:
    with Orthanc(tmp_path / "orthanc") as orthanc:
        peer = {"ae_title": "ORTHANC", "host": "127.0.0.1", "port": orthanc.dicom_port}
        node = receiver(commitment=True, peers={"pacs": peer})
        modality = {"AET": "VOXTELL", "Host": "127.0.0.1", "Port": node.port}
        orthanc.put("/modalities/node", modality)
        files = make_series(2)
        for path in write_files(tmp_path / "sent", files):
            orthanc.upload(path)
        held = [[CT, str(ds.SOPInstanceUID)] for ds in files]

        def commit(instances: list[list[str]]) -> dict[str, Any]:
            request = {"DicomInstances": [{"SOPClassUID": a, "SOPInstanceUID": b} for a, b in instances]}
            made = orthanc.post("/modalities/node/storage-commitment", request)
            wait_until(lambda: orthanc.get(made["Path"])["Status"] != "Pending")
            found: dict[str, Any] = orthanc.get(made["Path"])
            return found

        orthanc.post("/modalities/node/store", {"Resources": orthanc.instances(files[0].StudyInstanceUID)})
        assert commit(held)["Status"] == "Success"
        failed = commit([*held, [CT, "1.2.3.404"]])
        assert failed["Status"] == "Failure"
        assert [(one["SOPInstanceUID"], one["FailureReason"]) for one in failed["Failures"]] == [("1.2.3.404", 0x0112)]

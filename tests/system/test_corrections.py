"""A PACS corrects headers and sends a series again: before delivery a new object goes, after it job and log say so."""

from __future__ import annotations

from pathlib import Path

import pydicom

from tests.system.made_series import write_ct
from tests.system.node_process import NodeProcess
from tests.system.peers.dcmtk import storescu
from tests.system.peers.orthanc import Orthanc
from tests.system.peers.ports import free_port
from tests.system.seg_check import assert_is_threshold

TRIED = "SELECT 1 FROM workflow_status WHERE name = 'deliver' AND status = 'SUCCESS'"


def correct(files: list[Path], **values: str) -> None:
    """Write other values into the headers of a series."""
    for path in files:
        ds = pydicom.dcmread(path)
        for keyword, value in values.items():
            setattr(ds, keyword, value)
        ds.save_as(path)


def uids(node: NodeProcess) -> dict[str, str]:
    """Return the SOP Instance UID of the result of each job."""
    return {job["id"]: job["results"][0] for job in node.jobs_cli() if job["results"]}


def test_a_correction_before_delivery_is_delivered_under_a_new_uid(tmp_path: Path) -> None:
    files = write_ct(tmp_path / "ct")
    correct(files, AccessionNumber="OLD", PatientName="Doe^Jane")
    port = free_port()
    peer = {"ae_title": "ORTHANC", "host": "127.0.0.1", "port": port, "timeout_s": 60}
    with NodeProcess(tmp_path / "node", peers={"pacs": peer}, receive={"quiet_s": 6}) as node:
        storescu(files, node.port)
        node.wait(lambda: node.read("SELECT 1 FROM voxtell_delivery WHERE state = 'retry'"), what="an attempt")
        (old,) = uids(node).values()
        correct(files, AccessionNumber="NEW", PatientName="Doe^Joan")
        half = len(files) // 2
        storescu(files[:half], node.port)
        attempts = len(node.read(TRIED))
        node.wait(lambda: len(node.read(TRIED)) > attempts, what="an attempt that finds the series half corrected")
        storescu(files[half:], node.port)
        with Orthanc(tmp_path / "orthanc", dicom_port=port) as orthanc:
            (instance,) = orthanc.wait_for(1, settle_s=2)
            sent = orthanc.download(instance)
            jobs = node.wait_for_jobs("cancelled", "delivered")
            assert_is_threshold(sent, files, lambda hu: hu > 300)
            (tmp_path / "sent.dcm").write_bytes(sent)
            ds = pydicom.dcmread(tmp_path / "sent.dcm")
            assert (ds.AccessionNumber, str(ds.PatientName)) == ("NEW", "Doe^Joan")
            assert ds.SOPInstanceUID != old
            reasons = {job["state"]: job["reason"] for job in jobs}
            (new,) = (job["id"] for job in jobs if job["state"] == "delivered")
            assert f"corrected before delivery; job {new}" in reasons["cancelled"]
            assert {job["id"]: job["accession"] for job in node.jobs_cli()}[new] == "NEW"


def test_a_correction_after_delivery_is_a_warning(tmp_path: Path) -> None:
    files = write_ct(tmp_path / "ct")
    with (
        Orthanc(tmp_path / "orthanc") as orthanc,
        NodeProcess(tmp_path / "node", peers={"pacs": orthanc.dimse_settings}) as node,
    ):
        storescu(files, node.port)
        node.wait_for_jobs("delivered")
        correct(files, AccessionNumber="NEW")
        storescu(files, node.port)
        node.wait(lambda: "headers corrected after delivery" in node.log(), what="the warning")
        storescu(files, node.port)  # once more: the same, and nothing new to say
        (job,) = node.jobs_cli()
        assert len([warning for warning in job["warnings"] if "corrected after delivery" in warning]) == 1
        assert node.log().count("headers corrected after delivery") == 1
        assert len(orthanc.instances(modality="SEG")) == 1
        node.cli("jobs", "rerun", job["id"])
        node.wait_for_jobs("delivered", "delivered")
        found = [pydicom.dcmread(write(tmp_path, orthanc, one)) for one in orthanc.wait_for(2)]
        assert sorted(ds.AccessionNumber for ds in found) == ["ACC-1", "NEW"]


def write(folder: Path, orthanc: Orthanc, instance: str) -> Path:
    path = folder / f"{instance}.dcm"
    path.write_bytes(orthanc.download(instance))
    return path

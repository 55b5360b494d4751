"""A whole node with TLS on every side: DCMTK sends, Orthanc takes, commits and reports. No bad file starts it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pydicom
import pytest
import yaml

from tests.system.made_series import write_ct
from tests.system.node_process import SENDER, NodeProcess
from tests.system.peers.dcmtk import ENVIRONMENT
from tests.system.peers.orthanc import Orthanc
from tests.system.peers.ports import free_port
from tests.system.seg_check import assert_is_threshold
from tests.tls.authority import Authority

PASSWORD = "sesame-0815"


def with_tls(node: NodeProcess, authority: Authority) -> None:
    """Have the node's port speak TLS only, with an encrypted key, and demand certificates."""
    pair = authority.issue("voxtell", number=14, password=PASSWORD)
    settings = yaml.safe_load(node.yaml.read_text())
    settings["node"]["dimse"]["tls"] = {
        **pair.settings,
        "key_password_env": "NODE_KEY_PASSWORD",
        "ca": str(authority.ca),
        "client_certificates": "require",
    }
    settings["peers"]["sender"]["certificate_subject"] = "CN=ct1"
    node.yaml.write_text(yaml.safe_dump(settings, sort_keys=False))


def test_a_series_goes_round_over_tls_and_is_committed(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODE_KEY_PASSWORD", PASSWORD)
    port, dicom = free_port(), free_port()
    own, theirs, sender = authority.issue("node"), authority.issue("orthanc"), authority.issue("ct1")
    modality = {"AET": "VOXTELL", "Host": "127.0.0.1", "Port": port, "UseDicomTls": True}
    settings = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(theirs.certificate),
        "DicomTlsPrivateKey": str(theirs.key),
        "DicomTlsTrustedCertificates": str(authority.ca),
        "DicomModalities": {"node": modality},
    }
    peer = {
        "ae_title": "ORTHANC",
        "host": "127.0.0.1",
        "port": dicom,
        "tls": {"ca": str(authority.ca), **own.settings},
        "certificate_subject": "CN=orthanc",
        "commit": True,
    }
    node = NodeProcess(tmp_path / "node", peers={"pacs": peer}, port=port)
    with_tls(node, authority)
    files = write_ct(tmp_path / "ct")
    with Orthanc(tmp_path / "orthanc", settings=settings, dicom_port=dicom) as orthanc, node:
        command = ["storescu", "-aet", SENDER, "-aec", "VOXTELL", "+tls", str(sender.key), str(sender.certificate)]
        command += ["+cf", str(authority.ca), "127.0.0.1", str(port), *map(str, files)]
        subprocess.run(command, check=True, capture_output=True, env=ENVIRONMENT, timeout=120)
        (instance,) = orthanc.wait_for(1, study_uid=pydicom.dcmread(files[0]).StudyInstanceUID)
        assert_is_threshold(orthanc.download(instance), files, lambda hu: hu > 300)
        node.wait_for_jobs("delivered")
        (row,) = node.read("SELECT state FROM voxtell_commitment")
        assert row["state"] == "committed"
        assert node.read("SELECT status FROM voxtell_delivery ORDER BY attempt DESC")[0]["status"] == "committed"
        health = node.cli("health")
        assert f"VOXTELL@127.0.0.1:{port} answers" in health.stdout
    assert PASSWORD not in node.log()


def test_a_node_does_not_start_with_a_key_that_it_cannot_open(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODE_KEY_PASSWORD", "wrong-4711")
    node = NodeProcess(tmp_path / "node", peers={})
    settings = yaml.safe_load(node.yaml.read_text())
    settings["rules"] = []
    node.yaml.write_text(yaml.safe_dump(settings))
    with_tls(node, authority)
    done = node.cli("serve", check=False)
    assert done.returncode == 2, done.stderr
    said = done.stdout + done.stderr
    assert "NODE_KEY_PASSWORD holds another password" in " ".join(said.split())
    assert "wrong-4711" not in said

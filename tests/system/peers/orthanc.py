"""Orthanc (Debian package) with its DICOMweb plugin: a real PACS on free ports, in a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from tests.system.peers.ports import free_port, wait_for_port
from voxtell_dicom.config import Peer

PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
# Everything that is stored, the node's own results included, goes on to the modality: what a careless PACS does.
FORWARD = """
function OnStoredInstance(instanceId, tags, metadata, origin)
  SendToModality(instanceId, '{}')
end
"""


class Orthanc:
    """A context manager. `modalities` maps a name to (AE title, port on loopback); `forward_to` names one of them.

    HTTP answers loopback only; the DICOM port of Orthanc 1.10 cannot be bound to one address.
    """

    def __init__(
        self,
        folder: Path,
        *,
        overwrite: bool = False,
        modalities: Mapping[str, tuple[str, int]] | None = None,
        forward_to: str | None = None,
        dicom_port: int | None = None,
        http_port: int | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self.dicom_port = dicom_port or free_port()
        self.http_port = http_port or free_port()
        self.url = f"http://127.0.0.1:{self.http_port}"
        self.dicomweb = f"{self.url}/dicom-web"
        self.ae_title = "ORTHANC"
        folder.mkdir(parents=True, exist_ok=True)
        scripts = []
        if forward_to is not None:
            (folder / "forward.lua").write_text(FORWARD.format(forward_to))
            scripts = [str(folder / "forward.lua")]
        known = {
            name: {"AET": title, "Host": "127.0.0.1", "Port": port, "AllowFind": True, "AllowMove": True}
            for name, (title, port) in (modalities or {}).items()
        }
        config: dict[str, Any] = {
            "Name": "test",
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "Plugins": [PLUGIN],
            "LuaScripts": scripts,
            "HttpPort": self.http_port,
            "DicomPort": self.dicom_port,
            "DicomAet": self.ae_title,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowMove": True,
            "DicomModalities": known,
            "DicomScpTimeout": 10,
            "DicomScuTimeout": 5,
            "DicomAssociationCloseDelay": 1,
            "OverwriteInstances": overwrite,
            "SyncStorageArea": False,
            "StableAge": 2,
            "HttpThreadsCount": 8,
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": True, "Ssl": False},
        }
        config.update(settings or {})
        (folder / "orthanc.json").write_text(json.dumps(config, indent=1))
        self._process: subprocess.Popen[bytes] | None = None
        self._http = requests.Session()
        self._http.trust_env = False
        # Orthanc closes connections that were idle, at times just when the next request is on its way.
        self._http.mount("http://", HTTPAdapter(max_retries=Retry(5, backoff_factor=0.2, allowed_methods=None)))

    def __enter__(self) -> Orthanc:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(kill=True)

    def start(self) -> None:
        """Start (again, on the same ports and store) and wait until both ports answer."""
        with (self.folder / "orthanc.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["Orthanc", str(self.folder / "orthanc.json")],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "TCP_NODELAY": "1"},
            )
        try:
            wait_for_port(self.dicom_port)
            wait_for_port(self.http_port)
            self.get("/system")
        except (TimeoutError, requests.RequestException) as error:
            self.stop()
            raise RuntimeError(
                f"Orthanc does not start: {(self.folder / 'orthanc.log').read_text()[-2000:]}"
            ) from error

    def stop(self, *, kill: bool = False) -> None:
        """Stop it, by its pid; the store stays. A kind stop takes it some seconds."""
        if self._process is not None:
            if kill:
                self._process.kill()
            else:
                self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    @property
    def pid(self) -> int:
        """Of the running Orthanc."""
        assert self._process is not None
        return self._process.pid

    @property
    def dimse_settings(self) -> dict[str, Any]:
        """This Orthanc as a DIMSE peer, as it stands in node.yaml."""
        return {"ae_title": self.ae_title, "host": "127.0.0.1", "port": self.dicom_port, "timeout_s": 60}

    @property
    def web_settings(self) -> dict[str, Any]:
        """This Orthanc as a DICOMweb peer, as it stands in node.yaml."""
        return {"dicomweb": self.dicomweb, "timeout_s": 60}

    def peer(self, **more: Any) -> Peer:
        """This Orthanc as a DIMSE peer."""
        return Peer(**{**self.dimse_settings, **more})

    def web_peer(self, **more: Any) -> Peer:
        """This Orthanc as a DICOMweb peer."""
        return Peer(**{**self.web_settings, **more})

    def get(self, path: str) -> Any:
        """GET a path of the REST API, as JSON."""
        response = self._http.get(self.url + path, timeout=10)
        response.raise_for_status()
        return response.json()

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """POST JSON to a path of the REST API; the answer, as JSON."""
        response = self._http.post(self.url + path, json=body, timeout=30)
        response.raise_for_status()
        return response.json()

    def put(self, path: str, body: Mapping[str, Any]) -> None:
        """PUT JSON to a path of the REST API."""
        self._http.put(self.url + path, json=body, timeout=30).raise_for_status()

    def _find(self, level: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
        wanted = {key: value for key, value in query.items() if value}
        body: dict[str, Any] = {"Level": level, "Query": wanted, "Expand": True}
        response = self._http.post(self.url + "/tools/find", json=body, timeout=10)
        response.raise_for_status()
        found: list[dict[str, Any]] = response.json()
        return found

    def series(self, study_uid: str = "", modality: str = "") -> list[dict[str, Any]]:
        """The series of a study as Orthanc describes them ("MainDicomTags", "Instances": Orthanc's ids, …)."""
        return self._find("Series", {"StudyInstanceUID": study_uid, "Modality": modality})

    def instances(self, study_uid: str = "", modality: str = "") -> list[str]:
        """Orthanc's ids of the instances of a study, optionally of one modality (e.g. "SEG")."""
        return [item["ID"] for item in self._find("Instance", {"StudyInstanceUID": study_uid, "Modality": modality})]

    def download(self, instance_id: str) -> bytes:
        """The Part 10 file of an instance, by Orthanc's id."""
        response = self._http.get(f"{self.url}/instances/{instance_id}/file", timeout=30)
        response.raise_for_status()
        return response.content

    def wait_for(
        self, count: int, *, study_uid: str = "", modality: str = "SEG", timeout_s: float = 60.0, settle_s: float = 0.0
    ) -> list[str]:
        """Orthanc's ids once it holds `count` instances of the modality, and, after `settle_s` more, still that many.

        Raises TimeoutError with what is there instead.
        """
        end = time.monotonic() + timeout_s
        found = self.instances(study_uid, modality)
        while len(found) < count and time.monotonic() < end:
            time.sleep(0.2)
            found = self.instances(study_uid, modality)
        if settle_s and len(found) == count:
            time.sleep(settle_s)
            found = self.instances(study_uid, modality)
        if len(found) != count:
            raise TimeoutError(f"{len(found)} {modality} instances instead of {count} in {self.url}")
        return found

    def upload(self, path: Path) -> None:
        """Put a file into the store through the REST API."""
        response = self._http.post(self.url + "/instances", data=path.read_bytes(), timeout=30)
        response.raise_for_status()

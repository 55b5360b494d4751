"""The parts of the node that requests are answered from."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from voxtell_dicom.archive.archive import Archive
from voxtell_dicom.config import Config
from voxtell_dicom.config.settings import Http
from voxtell_dicom.jobs.book import JobBook
from voxtell_dicom.receive.completion import Completion


@dataclass(frozen=True)
class Services:
    """Made once by the node. engine: the database of archive and job book."""

    config: Config
    engine: sa.Engine
    archive: Archive
    completion: Completion
    jobs: JobBook

    @property
    def http(self) -> Http:
        """Return the settings of the listener."""
        return self.config.node.http or Http()

    @property
    def root(self) -> str:
        """Return the address with which links begin: never the Host of a request, which its sender chooses."""
        host = f"[{self.http.host}]" if ":" in self.http.host else self.http.host
        return (self.http.public_root or f"http://{host}:{self.http.port}").rstrip("/")

    @property
    def dicomweb(self) -> str:
        """Return the root of DICOMweb."""
        return f"{self.root}/dicomweb"

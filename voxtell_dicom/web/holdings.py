"""Instances that can be retrieved: received instances, by the index, and results, by the job book."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fastapi import HTTPException
from pydicom.uid import UID

from voxtell_dicom.archive.catalogue import Catalogue
from voxtell_dicom.dicom.headers import read_header
from voxtell_dicom.web.services import Services


@dataclass(frozen=True)
class Holding:
    """One instance. digest: changes when its bytes do. result: it is one of ours, a file as deliveries send it."""

    study_uid: str
    series_uid: str
    sop_uid: str
    sop_class: str
    transfer_syntax: UID
    path: Path
    digest: str
    result: bool = False

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """Return the UIDs of SOP class, instance, study and series."""
        return self.sop_class, self.sop_uid, self.study_uid, self.series_uid


class Holdings:
    """Finds instances. What was received counts before a result of the same UID: it is that result, come back."""

    def __init__(self, services: Services) -> None:
        self._catalogue = Catalogue(services.engine, services.archive.objects)
        self._objects, self._jobs = services.archive.objects, services.jobs
        self._syntaxes: dict[Path, UID] = {}

    def find(self, study_uid: str, series_uid: str = "", sop_uid: str = "") -> list[Holding]:
        """Return the instances of a study, a series, or one of them, by series and SOP Instance UID."""
        received = [
            Holding(
                study_uid,
                one.series_uid,
                one.sop_uid,
                one.sop_class,
                UID(one.transfer_syntax),
                self._objects.path(one.object),
                one.digest,
            )
            for one in self._catalogue.instances(study_uid, series_uid, sop_uid)
        ]
        known = {one.sop_uid for one in received}
        results = [
            one
            for one in self.results(study_uid)
            if one.sop_uid not in known and series_uid in ("", one.series_uid) and sop_uid in ("", one.sop_uid)
        ]
        return sorted([*received, *results], key=lambda one: (one.series_uid, one.sop_uid))

    def require(self, study_uid: str, series_uid: str = "", sop_uid: str = "") -> list[Holding]:
        """Return what `find` returns. Raises HTTPException (404) where that is nothing."""
        found = self.find(study_uid, series_uid, sop_uid)
        if not found:
            raise HTTPException(404, "there is no such instance, series or study here")
        return found

    def results(self, study_uid: str = "") -> Sequence[Holding]:
        """Return the results that may be shown and are here, of one study or all."""
        found: dict[str, Holding] = {}
        for result in self._jobs.shown_results(study_uid):
            syntax = self._syntax(result.path)
            if syntax is not None:
                found[result.sop_instance_uid] = Holding(
                    result.study_uid,
                    result.series_uid,
                    result.sop_instance_uid,
                    result.sop_class_uid,
                    syntax,
                    result.path,
                    result.digest,
                    result=True,
                )
        return list(found.values())

    def _syntax(self, path: Path) -> UID | None:
        """Return the transfer syntax of a result's file; None where retention has dropped it."""
        if not path.is_file():
            self._syntaxes.pop(path, None)
            return None
        if path not in self._syntaxes:
            self._syntaxes[path] = UID(read_header(path).dataset.file_meta.TransferSyntaxUID)
        return self._syntaxes[path]

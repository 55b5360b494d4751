"""A small CT series written with pydicom alone, and a receiver on a free port of the loopback."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from voxtell_dicom.archive.archive import Archive
from voxtell_dicom.archive.clock import Clock
from voxtell_dicom.archive.database import open_database
from voxtell_dicom.config import Config, Receive
from voxtell_dicom.model import Series
from voxtell_dicom.receive.completion import Completion
from voxtell_dicom.receive.dimse import StorageScp


def make_slice(series_uid: str, number: int, *, study_uid: str = "1.2.3.4", **attributes: Any) -> Dataset:
    """One CT slice of 32 × 32 with random values; `attributes` by keyword override or add."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = f"{series_uid}.{number}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study_uid, series_uid
    dataset.PatientName, dataset.PatientID, dataset.Modality = "Doe^Jane", "P1", "CT"
    dataset.Manufacturer, dataset.InstanceNumber = "ACME", number
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, 2.5 * number], [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.FrameOfReferenceUID = [1, 1], "1.2.3.4.5"
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.Rows = dataset.Columns = 32
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PixelData = np.random.default_rng(number).integers(0, 4096, (32, 32), np.uint16).tobytes()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def make_series(count: int, series_uid: str = "", **attributes: Any) -> list[Dataset]:
    uid = series_uid or generate_uid()[:58].rstrip(".0")
    return [make_slice(uid, number, **attributes) for number in range(1, count + 1)]


def write_files(folder: Path, datasets: list[Dataset]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:04}.dcm" for number in range(len(datasets))]
    for path, dataset in zip(paths, datasets, strict=True):
        dataset.save_as(path, enforce_file_format=True)
    return paths


def open_archive(root: Path, also: Collection[str] = (), clock: Clock | None = None, **receive: Any) -> Archive:
    """An archive with its index beside it: on another disk, where the folder is a disk of its own."""
    folder = root.parent.parent if os.path.ismount(root.parent) else root.parent
    node = {"storage": root.parent, "database": f"sqlite:///{folder}/{root.name}.sqlite"}
    config = Config.model_validate({"version": 1, "node": node, "model": {"engine": "threshold"}})
    settings = Receive.model_validate({"min_free_percent": 0, **receive})
    return Archive(root, open_database(config), settings, also, clock)


class Receiver:
    """Archive, completion and SCP as the node wires them; `completed` collects what was handed on."""

    def __init__(self, root: Path, also: tuple[str, ...] = (), missing: Any = None, **receive: Any) -> None:
        peers, dimse = receive.pop("peers", {"ct": {"ae_title": "CT1"}}), receive.pop("dimse", {})
        record = receive.pop("record_commitment", None)
        settings = {"quiet_s": 0.4, "incomplete_s": 1.5, "min_free_percent": 0, **receive}
        self.config = Config.model_validate(
            {
                "version": 1,
                "node": {"dimse": {"host": "127.0.0.1", "port": 0, **dimse}},
                "model": {"engine": "threshold"},
                "receive": settings,
                "peers": peers,
            }
        )
        self.completed: list[Series] = []
        self.news = threading.Condition()
        self.archive = open_archive(root, also, **settings)
        hook = {"missing": missing} if missing else {}
        self.completion = Completion(self.archive, self.config.receive, self.config.peers, self._complete, **hook)
        self.scp = StorageScp(self.config, self.archive, self.completion, record_commitment=record)
        self.completion.start()
        self.scp.start()
        self._open = True

    def _complete(self, _connection: sa.Connection, series: Series) -> None:
        with self.news:
            self.completed.append(series)
            self.news.notify_all()

    @property
    def port(self) -> int:
        return self.scp.port

    def wait(self, count: int, timeout_s: float = 60) -> list[Series]:
        """Until `count` versions were handed on."""
        with self.news:
            assert self.news.wait_for(lambda: len(self.completed) >= count, timeout_s), self.completed
            return list(self.completed)

    def nothing_more(self, seconds: float) -> None:
        """Nothing is handed on for a while."""
        before = len(self.completed)
        time.sleep(seconds)
        assert len(self.completed) == before, self.completed[before:]

    def close(self) -> None:
        """Again is no error."""
        if not self._open:
            return
        self._open = False
        self.scp.stop(0)
        self.completion.stop()
        self.archive.close()

"""A study as a CT scanner makes it: scout, thick and thin axial, two kernels, a coronal reformat, a dose report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, XRayRadiationDoseSRStorage

from voxtell_dicom.phantom import Acquisition
from voxtell_dicom.phantom.acquisition import Plane
from voxtell_dicom.phantom.anatomy import torso
from voxtell_dicom.phantom.writer import uid, write_series

ORIGINAL = ("ORIGINAL", "PRIMARY", "AXIAL")
STUDY_RULE: dict[str, Any] = {
    "name": "bright",
    "scope": "study",
    "when": {"Modality": "CT"},
    "choose": {
        "best": ["thinnest", "most slices"],
        "where": {"plane": "axial", "kernel": "soft", "coverage_mm": {"at_least": 200}},
    },
    "prompts": ["> 300"],
    "send_to": ["pacs"],
}


def write_study(folder: Path, seed: int) -> dict[str, list[Path]]:
    """The files of each series by its name; each seed is another patient."""
    return {
        "scout": write_one(folder / "scout", seed, 1, 8, image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"), slices=1),
        "thick": write_one(folder / "thick", seed, 2, 16),
        "thin": write_one(folder / "thin", seed, 3, 8),
        "sharp": write_one(folder / "sharp", seed, 4, 8, kernel="Br64d"),
        "coronal": write_one(folder / "coronal", seed, 5, 6, "coronal", image_type=("DERIVED", "SECONDARY", "MPR")),
        "dose": [write_dose_report(folder / "dose.dcm", seed)],
    }


def write_one(
    folder: Path,
    seed: int,
    number: int,
    spacing_mm: float,
    plane: Plane = "axial",
    *,
    kernel: str = "Br40d",
    image_type: Sequence[str] = ORIGINAL,
    slices: int = 0,
) -> list[Path]:
    """One CT series of the patient's study, in 8 mm pixels. slices: how many files are left of it; 0: all."""
    scan = Acquisition(
        plane=plane, slice_spacing_mm=spacing_mm, pixel_spacing_mm=(8, 8), series_number=number, shuffled=False
    )
    paths = write_series(torso(seed), scan, folder)
    kept = paths[:slices] if slices else paths
    for path in paths[len(kept) :]:
        path.unlink()
    for path in kept:
        ds = pydicom.dcmread(path)
        ds.ConvolutionKernel, ds.ImageType = kernel, list(image_type)
        ds.save_as(path)
    return kept


def write_dose_report(path: Path, seed: int) -> Path:
    """An X-Ray Radiation Dose SR that says hardly anything: it is there to be passed over."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = XRayRadiationDoseSRStorage, uid(seed, "dose", "instance")
    ds.StudyInstanceUID, ds.SeriesInstanceUID = uid(seed, "study"), uid(seed, "dose", "series")
    ds.PatientID, ds.PatientName, ds.PatientBirthDate, ds.PatientSex = f"PHANTOM-{seed}", "Phantom^Torso", "", "O"
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber = "SR", 999, 1
    ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20260101", "120000", str(seed), f"PH{seed}"
    ds.Manufacturer, ds.CompletionFlag, ds.VerificationFlag, ds.ValueType = (
        "Test",
        "COMPLETE",
        "UNVERIFIED",
        "CONTAINER",
    )
    ds.save_as(path, enforce_file_format=True)
    return path


def series_uid(files: Sequence[Path]) -> str:
    """Series Instance UID of the first file."""
    return str(pydicom.dcmread(files[0], stop_before_pixels=True).SeriesInstanceUID)

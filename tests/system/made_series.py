"""A CT series of noise, whose every voxel tells where it belongs: any flip, shift or permutation of a mask shows."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CT = "1.2.840.10008.5.1.4.1.1.2"
OBLIQUE = (0.96, 0.28, 0.0, -0.28, 0.96, 0.0)


def write_ct(
    folder: Path,
    *,
    slices: int = 10,
    rows: int = 44,
    columns: int = 36,
    seed: int = 0,
    orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
    study_uid: str = "",
    patient_id: str = "SYSTEM-TEST",
) -> list[Path]:
    """Write one file per slice, in slice order; values are uniform noise in -1024 … 975 HU, slices 2.5 mm apart."""
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed)
    row, column = np.array(orientation[:3], float), np.array(orientation[3:], float)
    normal = np.cross(row, column)
    study, series, frame = study_uid or generate_uid(), generate_uid(), generate_uid()
    paths = []
    for index in range(slices):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.SOPClassUID, ds.SOPInstanceUID = CT, generate_uid()
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame
        ds.PatientID, ds.PatientName, ds.PatientBirthDate, ds.PatientSex = patient_id, "System^Test", "19700101", "O"
        ds.StudyID, ds.AccessionNumber, ds.ReferringPhysicianName = "1", "ACC-1", ""
        ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20260102"
        ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "030405"
        ds.Modality, ds.SeriesNumber, ds.AcquisitionNumber, ds.InstanceNumber = "CT", 3, 1, index + 1
        ds.SeriesDescription, ds.Manufacturer, ds.BodyPartExamined = "noise", "Test", "ABDOMEN"
        ds.PatientPosition, ds.PositionReferenceIndicator, ds.KVP = "HFS", "", "120"
        ds.ImageOrientationPatient = [float(v) for v in orientation]
        ds.ImagePositionPatient = [round(float(v), 6) for v in (-20, -30, 40) + 2.5 * index * normal]
        ds.PixelSpacing, ds.SliceThickness = [0.75, 0.5], 2.5
        ds.Rows, ds.Columns = rows, columns
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = -1024, 1, "HU"
        ds.PixelData = noise.integers(0, 2000, (rows, columns), dtype=np.uint16).tobytes()
        path = folder / f"{index:03d}.dcm"
        ds.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def to_jpeg2000(files: Sequence[Path], folder: Path) -> list[Path]:
    """The same instances, losslessly compressed by gdcmconv."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in files:
        subprocess.run(["gdcmconv", "--j2k", str(path), str(folder / path.name)], check=True, capture_output=True)
    return [folder / path.name for path in files]

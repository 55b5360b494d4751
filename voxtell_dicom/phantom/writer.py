"""Write a scan of the phantom as a CT series: CT Image Storage (PS3.3 A.3), Explicit VR Little Endian, 12 bits.

UIDs are made from the seed and the acquisition, so that the same call writes the same objects everywhere. All
acquisitions of a seed share patient, study and Frame of Reference.
"""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pydicom.valuerep import DSfloat

from voxtell_dicom.phantom.acquisition import Acquisition
from voxtell_dicom.phantom.anatomy import Anatomy
from voxtell_dicom.phantom.shapes import Lattice

INTERCEPT = -1024
DATE, TIME = "20260101", "120000"


def write_series(anatomy: Anatomy, acquisition: Acquisition, folder: Path) -> list[Path]:
    """Write one file per frame into `folder` (made if need be).

    Returns the paths in the order of the frames along the stack, duplicates last. Raises OSError.
    """
    lattice = acquisition.lattice(anatomy)
    stored = stored_values(anatomy, acquisition)
    shared = _shared_attributes(anatomy, acquisition, lattice)
    folder.mkdir(parents=True, exist_ok=True)
    frames = [i for i in range(lattice.shape[0]) if i not in acquisition.missing]
    copies = [(frame, 0) for frame in frames] + [(frame, 1) for frame in acquisition.duplicated]
    numbers = np.arange(1, len(copies) + 1)
    if acquisition.shuffled:
        numbers = np.random.default_rng([17, anatomy.seed]).permutation(numbers)
    paths = []
    for (frame, repeat), number in zip(copies, numbers, strict=True):
        dataset = _instance(shared, lattice, frame, stored[frame], int(number))
        dataset.SOPInstanceUID = uid(anatomy.seed, acquisition.identity, "instance", frame, repeat)
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        path = folder / f"CT{number:05d}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def stored_values(anatomy: Anatomy, acquisition: Acquisition) -> npt.NDArray[np.uint16]:
    """Stored pixel values (frame, row, column): HU + 1024, as the files hold them."""
    hounsfield = anatomy.hounsfield(anatomy.tissues(acquisition.lattice(anatomy)))
    stored: npt.NDArray[np.uint16] = np.clip(np.rint(hounsfield) - INTERCEPT, 0, 4095).astype(np.uint16)
    return stored


def uid(*parts: Any) -> str:
    """A UUID-derived UID (PS3.5 B.2) made from the parts: the same for the same parts."""
    digest = hashlib.sha256("|".join(str(part) for part in ("voxtell-dicom phantom", *parts)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def _decimals(values: Any) -> list[DSfloat]:
    return [DSfloat(float(value), auto_format=True) for value in values]


def _shared_attributes(anatomy: Anatomy, acquisition: Acquisition, lattice: Lattice) -> Dataset:
    """All that the instances of a series have in common."""
    seed = anatomy.seed
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = CTImageStorage
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.ImplementationVersionName = "VOXTELL_PHANTOM"
    ds.SOPClassUID = CTImageStorage
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = DATE
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = TIME
    ds.AccessionNumber = f"PH{seed}"
    ds.Modality = "CT"
    ds.Manufacturer = "Synthetic"
    ds.ManufacturerModelName = "Torso phantom"
    ds.SoftwareVersions = "1"
    ds.ReferringPhysicianName = ""
    ds.StudyDescription = "Synthetic torso"
    ds.SeriesDescription = acquisition.description or f"Phantom {acquisition.plane}"
    ds.PatientName = "Phantom^Torso"
    ds.PatientID = f"PHANTOM-{seed}"
    ds.PatientBirthDate = "19700101"
    ds.PatientSex = "O"
    ds.BodyPartExamined = "CHESTABDPELVIS"
    ds.SliceThickness = _decimals([acquisition.slice_spacing_mm])[0]
    ds.KVP = "120"
    if acquisition.tilt_deg:
        ds.GantryDetectorTilt = _decimals([acquisition.tilt_deg])[0]
    ds.PatientPosition = acquisition.position
    ds.StudyInstanceUID = uid(seed, "study")
    ds.SeriesInstanceUID = uid(seed, acquisition.identity, "series")
    ds.StudyID = str(seed)
    ds.SeriesNumber = acquisition.series_number
    ds.AcquisitionNumber = 1
    ds.FrameOfReferenceUID = uid(seed, "frame of reference")
    ds.PositionReferenceIndicator = ""
    _, row, column = acquisition.directions()
    ds.ImageOrientationPatient = _decimals([*row, *column])
    ds.PixelSpacing = _decimals(acquisition.pixel_spacing_mm)
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = lattice.shape[1:]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = str(INTERCEPT), "1", "HU"
    ds.WindowCenter, ds.WindowWidth = "40", "400"
    return ds


def _instance(shared: Dataset, lattice: Lattice, frame: int, pixels: npt.NDArray[np.uint16], number: int) -> Dataset:
    """One frame as a dataset, but for its SOP Instance UID."""
    ds = copy.copy(shared)
    ds.file_meta = copy.copy(shared.file_meta)
    ds.InstanceNumber = number
    ds.ImagePositionPatient = _decimals(np.asarray(lattice.origin_mm) + frame * np.asarray(lattice.steps_mm[0]))
    ds.PixelData = pixels.tobytes()
    ds["PixelData"].VR = "OW"
    return ds

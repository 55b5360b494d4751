"""Small series for the tests: noise with any geometry, written slice by slice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from voxtell_dicom.model import Instance, Mask, Series, Volume

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
UID = "2.25.1234567890"
Edit = Callable[[Dataset, int], Any]


def noise(shape: tuple[int, int, int], seed: int = 0) -> npt.NDArray[np.uint16]:
    """Stored values (frame, row, column), 12 bits."""
    return np.random.default_rng(seed).integers(0, 4096, shape, dtype=np.uint16)


def normal_of(orientation: Sequence[float]) -> npt.NDArray[np.float64]:
    return np.cross(orientation[:3], orientation[3:])


def make(stored: npt.NDArray[Any], position: Sequence[float], **more: Any) -> Dataset:
    """One CT slice of 2-D stored values at a position; `more`: keywords to set, None to leave out."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID = generate_uid(
        entropy_srcs=[repr(position), stored.tobytes().hex()[:64], repr(sorted(more.items()))]
    )
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = f"{UID}.1", f"{UID}.2", f"{UID}.3"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Test^Slices", "T1", "19700101", "O"
    ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20260101", "120000", "1", "A1"
    ds.ReferringPhysicianName = ""
    ds.Modality, ds.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.Manufacturer, ds.SeriesNumber, ds.InstanceNumber, ds.PatientPosition = "Test", 1, 1, "HFS"
    ds.ImageOrientationPatient, ds.PixelSpacing, ds.SliceThickness = list(AXIAL), [1.0, 1.0], 2.0
    ds.ImagePositionPatient = [f"{value:.9g}" for value in position]
    ds.RescaleSlope, ds.RescaleIntercept = 1, -1024
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = stored.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = (
        16,
        16 if stored.dtype.kind == "i" else 12,
        15 if stored.dtype.kind == "i" else 11,
    )
    ds.PixelRepresentation = int(stored.dtype.kind == "i")
    ds.PixelData = stored.tobytes()
    for keyword, value in more.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


def stack(
    stored: npt.NDArray[Any],
    *,
    orientation: Sequence[float] = AXIAL,
    spacing: tuple[float, float, float] = (2.0, 1.0, 1.0),
    origin: Sequence[float] = (-10.0, -20.0, -30.0),
    step: Sequence[float] | None = None,
    edit: Edit | None = None,
    **more: Any,
) -> list[Dataset]:
    """A stack of slices of (frame, row, column) values; `step`: from one to the next, by default along the normal."""
    along = normal_of(orientation) * spacing[0] if step is None else np.array(step)
    slices = []
    for index, plane in enumerate(stored):
        position = np.array(origin) + index * along
        ds = make(
            plane,
            position,
            ImageOrientationPatient=[f"{value:.9g}" for value in orientation],
            PixelSpacing=[f"{value:.9g}" for value in spacing[1:]],
            SliceThickness=f"{spacing[0]:.9g}",
            InstanceNumber=index + 1,
            **more,
        )
        if edit:
            edit(ds, index)
            ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
            ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
        slices.append(ds)
    return slices


def save(slices: Sequence[Dataset], folder: Path, shuffle: int = 1) -> Series:
    """Write slices in files whose names say nothing about their order."""
    folder.mkdir(parents=True, exist_ok=True)
    names = np.random.default_rng(shuffle).permutation(len(slices))
    for ds, name in zip(slices, names, strict=True):
        ds.save_as(folder / f"{name:05d}.dcm", enforce_file_format=True)
    return series_in(folder)


def series_in(folder: Path) -> Series:
    """All files of a folder as one series."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return Series("", "", "", tuple(Instance("", "", "", "", path) for path in files))


def from_frames(mask: Mask, volume: Volume) -> Mask:
    """The inverse of `series.volume.to_frames`: a mask on the source frames, put on the RAS grid; nothing elsewhere."""
    canvas = np.zeros(volume.canvas, bool)
    source = mask.to_array(volume.grid.shape)
    rows, columns = volume.grid.shape[1:]
    for index, (plane, frame) in enumerate(zip(volume.planes, volume.frames, strict=True)):
        down, along = frame.shift_px
        canvas[plane, down : down + rows, along : along + columns] = source[index]
    flipped = tuple(axis for axis, flip in enumerate(volume.to_ras.flips) if flip)
    return Mask.from_array(np.flip(canvas.transpose(volume.to_ras.axes), flipped))

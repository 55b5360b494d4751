"""Another reader than ours: a SEG and its source frames, decoded frame by frame with pydicom alone.

`verify` compares what we wrote by it. It shares no code with the rooms, on purpose.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_rescale  # type: ignore[attr-defined]

from voxtell_dicom.dicom.codecs.choice import pixel_array
from voxtell_dicom.model import BoolArray, Vector


@dataclass(frozen=True)
class SegFrame:
    """One frame of a BINARY segmentation: the source frame it refers to, where it lies, and its mask (row, column)."""

    segment: int
    source_uid: str
    source_frame: int
    position_mm: Vector
    mask: BoolArray


def seg_frames(path: Path) -> Iterator[SegFrame]:
    """The frames of a BINARY segmentation file (PS3.3 C.8.20), in their order."""
    ds = pydicom.dcmread(path)
    pixels = ds.pixel_array.reshape(-1, ds.Rows, ds.Columns).astype(bool)
    for mask, groups in zip(pixels, ds.PerFrameFunctionalGroupsSequence, strict=True):
        source = groups.DerivationImageSequence[0].SourceImageSequence[0]
        position = [float(value) for value in groups.PlanePositionSequence[0].ImagePositionPatient]
        yield SegFrame(
            segment=int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber),
            source_uid=str(source.ReferencedSOPInstanceUID),
            source_frame=int(source.get("ReferencedFrameNumber", 1) or 1),
            position_mm=(position[0], position[1], position[2]),
            mask=mask,
        )


def source_values(path: Path, frame: int) -> npt.NDArray[np.float64]:
    """The real values (rows, columns) of a source frame (from 1), float64."""
    ds = _dataset(path, path.stat().st_mtime_ns)
    stored: npt.NDArray[Any] = pixel_array(ds, index=frame - 1)
    for groups in _groups(ds, frame):
        if groups.get("PixelValueTransformationSequence"):
            item = groups.PixelValueTransformationSequence[0]
            return np.asarray(stored * float(item.RescaleSlope) + float(item.RescaleIntercept), np.float64)
    if ds.get("ModalityLUTSequence"):
        return np.asarray(apply_modality_lut(stored, ds), np.float64)
    if ds.get("RescaleSlope") is None and ds.get("RescaleIntercept") is None:
        return stored.astype(np.float64)
    return np.asarray(apply_rescale(stored, ds), np.float64)


def source_position(path: Path, frame: int) -> Vector:
    """Image Position (Patient) of a source frame (from 1)."""
    ds = _dataset(path, path.stat().st_mtime_ns)
    if "DetectorInformationSequence" in ds:  # a reconstructed NM image (PS3.3 C.8.4.15)
        detector = ds.DetectorInformationSequence[0]
        start, cosines = (
            np.array(detector[word].value, float) for word in ("ImagePositionPatient", "ImageOrientationPatient")
        )
        slices = np.atleast_1d(ds.SliceVector)
        x, y, z = start + (slices[frame - 1] - 1) * float(ds.SpacingBetweenSlices) * np.cross(cosines[:3], cosines[3:])
        return float(x), float(y), float(z)
    holders = [item for groups in _groups(ds, frame) for item in groups.get("PlanePositionSequence") or []]
    x, y, z = next(item for item in (*holders, ds) if "ImagePositionPatient" in item).ImagePositionPatient
    return float(x), float(y), float(z)


def _groups(ds: Dataset, frame: int) -> list[Dataset]:
    found: list[Dataset] = []
    if "PerFrameFunctionalGroupsSequence" in ds:
        found.append(ds.PerFrameFunctionalGroupsSequence[frame - 1])
    return found + list(ds.get("SharedFunctionalGroupsSequence") or [])


@lru_cache(maxsize=2)
def _dataset(path: Path, _changed_ns: int) -> Dataset:
    """The last files read: the frames of one instance are read one after the other."""
    return pydicom.dcmread(path)

"""A real SEG of a made-up CT, by highdicom: for tests that deliver one."""

from __future__ import annotations

import datetime
import hashlib
import uuid
from pathlib import Path

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from voxtell_dicom.model import Result

CT = "1.2.840.10008.5.1.4.1.1.2"


def _slices(frames: int, side: int) -> list[Dataset]:
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    now = datetime.datetime(2026, 1, 2, 3, 4, 5)
    slices = []
    for index in range(frames):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SOPClassUID, ds.SOPInstanceUID = CT, generate_uid()
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame
        ds.PatientID, ds.PatientName, ds.PatientBirthDate, ds.PatientSex = "TEST", "Test^Deliver", "", "O"
        ds.StudyID, ds.AccessionNumber, ds.ReferringPhysicianName = "1", "", ""
        ds.StudyDate = ds.SeriesDate = ds.ContentDate = now.strftime("%Y%m%d")
        ds.StudyTime = ds.SeriesTime = ds.ContentTime = now.strftime("%H%M%S")
        ds.Modality, ds.SeriesNumber, ds.InstanceNumber = "CT", 1, index + 1
        ds.Manufacturer, ds.PatientPosition, ds.PositionReferenceIndicator = "Test", "HFS", ""
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.ImagePositionPatient = [0, 0, 2 * index]
        ds.PixelSpacing, ds.SliceThickness = [1, 1], 2
        ds.Rows = ds.Columns = side
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
        ds.PixelData = bytes(2 * side * side)
        slices.append(ds)
    return slices


def write_small_seg(folder: Path, *, frames: int = 3, side: int = 16) -> Result:
    """A BINARY SEG of one segment in `folder`, and the Result that names it."""
    slices = _slices(frames, side)
    mask = np.zeros((frames, side, side), bool)
    mask[:, 4:9, 3:10] = True
    segment = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label="TEST - NOT FOR PATIENTS square",
        segmented_property_category=codes.SCT.Organ,
        segmented_property_type=codes.SCT.Liver,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name="test", version="1", family=codes.DCM.ArtificialIntelligence
        ),
    )
    seg = hd.seg.Segmentation(
        source_images=slices,
        pixel_array=mask,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[segment],
        series_instance_uid=generate_uid(),
        series_number=100,
        sop_instance_uid=f"2.25.{uuid.uuid4().int}",
        instance_number=1,
        manufacturer="voxtell-dicom tests",
        manufacturer_model_name="test",
        software_versions="1",
        device_serial_number="1",
    )
    path = folder / f"{seg.SOPInstanceUID}.dcm"
    seg.save_as(path, enforce_file_format=True)
    return Result(
        kind="seg",
        sop_instance_uid=str(seg.SOPInstanceUID),
        sop_class_uid=str(seg.SOPClassUID),
        series_uid=str(seg.SeriesInstanceUID),
        study_uid=str(seg.StudyInstanceUID),
        path=path,
        digest=hashlib.sha256(path.read_bytes()).hexdigest(),
        labels=("square",),
    )

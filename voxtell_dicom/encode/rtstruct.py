"""The plan's masks as an RT Structure Set (PS3.3 A.19): closed planar contours on the source frames, UNAPPROVED."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.tag import Tag
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage

from voxtell_dicom.encode import common, provenance, words
from voxtell_dicom.encode.colors import Rgb, colors_of
from voxtell_dicom.encode.contours import Ring, keyholed
from voxtell_dicom.encode.sources import read_sources
from voxtell_dicom.model import Found, Frame, Mask, Plan, Result, Volume

SH = 16
CONTOUR_DATA = Tag(0x3006, 0x0050)
DETACHED_STUDY = "1.2.840.10008.3.1.2.3.1"  # retired, and still what the module asks for (PS3.3 C.8.8.5)


def encode_rtstruct(
    plan: Plan,
    volume: Volume,
    found: Sequence[Found],
    *,
    directory: Path,
    series_number_base: int = 100,
    engine: str | None = None,
) -> Result | None:
    """Write the structure set, or give back the one already there; None where nothing was found.

    Each ROI is a prompt with voxels; holes by keyholes; coordinates in patient space to 0.0001 mm, so that no decimal
    string exceeds 16 characters. Implicit VR, because long contours do not fit a DS of explicit VR. Raises Refusal.
    """
    kept = [item for item in found if item.mask.voxels]
    if not kept:
        return None
    path = common.path_of(plan, "rtstruct", directory)
    if (there := common.already("rtstruct", path, found, volume)) is not None:
        return there
    maker = provenance.maker_of(plan, engine)
    header = read_sources(volume).newest
    ds = Dataset()
    texts = [item.prompt.label + item.prompt.text for item in kept]
    common.identify(
        ds, plan, maker, volume, header, "rtstruct", found, series_number_base=series_number_base, extra_texts=texts
    )
    ds.SOPClassUID, ds.Modality = RTStructureSetStorage, "RTSTRUCT"
    ds.OperatorsName = ""
    ds.FrameOfReferenceUID = volume.frame_of_reference_uid
    ds.PositionReferenceIndicator = str(header.get("PositionReferenceIndicator") or "")
    ds.StructureSetLabel = words.clipped(f"AI {plan.rule}", SH)
    ds.StructureSetName = words.clipped(ds.SeriesDescription)
    ds.StructureSetDate, ds.StructureSetTime = ds.ContentDate, ds.ContentTime
    del ds.ContentDate, ds.ContentTime  # not of this IOD
    ds.ReferencedFrameOfReferenceSequence = Items([_frame_of_reference(volume)])
    colors = colors_of([item.prompt for item in kept])
    ds.StructureSetROISequence = Items([_roi(n, item, volume, maker) for n, item in enumerate(kept, 1)])
    ds.ROIContourSequence = Items(
        [
            _contours(number, item.mask, color, volume)
            for number, (item, color) in enumerate(zip(kept, colors, strict=True), 1)
        ]
    )
    ds.RTROIObservationsSequence = Items([_observation(number, item) for number, item in enumerate(kept, 1)])
    ds.ApprovalStatus = "UNAPPROVED"
    return common.publish(ds, "rtstruct", path, found, volume, transfer_syntax=ImplicitVRLittleEndian)


def _frame_of_reference(volume: Volume) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = volume.series_uid
    instances = dict.fromkeys((frame.sop_class_uid, frame.sop_instance_uid) for frame in volume.frames)
    series.ContourImageSequence = Items([_image(sop_class, uid) for sop_class, uid in instances])
    study = Dataset()
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = DETACHED_STUDY, volume.study_uid
    study.RTReferencedSeriesSequence = Items([series])
    reference = Dataset()
    reference.FrameOfReferenceUID = volume.frame_of_reference_uid
    reference.RTReferencedStudySequence = Items([study])
    return reference


def _image(sop_class_uid: str, sop_instance_uid: str, number: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, sop_instance_uid
    if number is not None:
        item.ReferencedFrameNumber = number
    return item


def _roi(number: int, item: Found, volume: Volume, maker: provenance.Maker) -> Dataset:
    roi = Dataset()
    roi.ROINumber = number
    roi.ReferencedFrameOfReferenceUID = volume.frame_of_reference_uid
    roi.ROIName = words.segment_label(item.prompt.label, maker)
    roi.ROIDescription = item.prompt.text[: words.ST]
    roi.ROIGenerationAlgorithm = "AUTOMATIC"
    roi.ROIGenerationDescription = words.clipped(f"{maker.name} {maker.version}")
    return roi


def _observation(number: int, item: Found) -> Dataset:
    observation = Dataset()
    observation.ObservationNumber = observation.ReferencedROINumber = number
    observation.ROIObservationLabel = words.clipped(item.prompt.label, SH)
    observation.RTROIInterpretedType = ""
    observation.ROIInterpreter = ""
    return observation


def _contours(number: int, mask: Mask, color: Rgb, volume: Volume) -> Dataset:
    roi = Dataset()
    roi.ReferencedROINumber = number
    roi.ROIDisplayColor = list(color)
    contours = []
    (first, _), (top, _), (left, _) = mask.box
    multi = len({frame.sop_instance_uid for frame in volume.frames}) < len(volume.frames)
    for offset, plane in enumerate(mask.crop()):
        frame = volume.frames[first + offset]
        contours += [_contour(ring + np.array([top, left]), frame, volume, multi) for ring in keyholed(plane)]
    roi.ContourSequence = Items(contours)
    return roi


def _contour(ring: Ring, frame: Frame, volume: Volume, multi: bool) -> Dataset:
    """One closed contour in patient space, by its own frame's position (PS3.3 C.7.6.2.1.1, C.8.8.6)."""
    grid = volume.grid
    down = np.array(grid.column_cosine) * grid.spacing_mm[1]
    across = np.array(grid.row_cosine) * grid.spacing_mm[2]
    points = np.array(frame.position_mm) + ring[:, :1] * down + ring[:, 1:] * across
    contour = Dataset()
    number = frame.number if multi else None
    contour.ContourImageSequence = Items([_image(frame.sop_class_uid, frame.sop_instance_uid, number)])
    contour.ContourGeometricType = "CLOSED_PLANAR"
    contour.NumberOfContourPoints = len(points)
    data = "\\".join([f"{value:.4f}" for value in points.ravel().tolist()]).encode()
    data += b" " * (len(data) % 2)
    # As bytes: pydicom would parse and check each number, which takes minutes for the contours of a noisy mask.
    contour[CONTOUR_DATA] = RawDataElement(CONTOUR_DATA, "DS", len(data), data, 0, True, True)
    contour.set_original_encoding(True, True, "iso8859")  # so it is written as it stands
    return contour

"""The modules of a Segmentation that do not depend on pixels, built by highdicom on a two-by-two stand-in image.

highdicom thus checks and writes what every frame shares, and never sees the masks, a multi-frame source, a tilt or a
slice order. The stand-in has the source's patient, study and plane; frames are added by `seg.py`.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import highdicom
import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from voxtell_dicom.dicom.subject import TYPE_2, copy_subject
from voxtell_dicom.encode.common.sources import decimal
from voxtell_dicom.encode.common.spacing import common_step_mm
from voxtell_dicom.encode.seg.planes import FULL
from voxtell_dicom.model import Volume

SERIES_LEVEL = ("BodyPartExamined", "Laterality", "PatientPosition")
REPLACED = ("SpecificCharacterSet", "NumberOfFrames", "DimensionOrganizationSequence", "DimensionIndexSequence")
_TYPES = {"binary": "BINARY", "occupancy": "FRACTIONAL", "fractional": "FRACTIONAL", "labelmap": "LABELMAP"}
NOT_CARRIED = frozenset((0x0028, 0x5200, 0x7FE0))  # groups of pixels and functional groups


@dataclass(frozen=True)
class Naming:
    """UIDs, number and words of the object."""

    sop_instance_uid: str
    series_uid: str
    series_number: int
    series_description: str
    content_label: str
    content_description: str


def build(
    volume: Volume,
    header: Dataset,
    position: str,
    segments: list[Dataset],
    naming: Naming,
    charset: list[str],
    *,
    encoding: str = "binary",
) -> Dataset:
    """A Segmentation dataset without per-frame groups and pixels. `header`: a source header.

    `charset`: Specific Character Set of the object. `encoding`: as in `profiles.Form`.
    """
    stand_in = _stand_in(volume, header, position)
    built = highdicom.seg.Segmentation(
        source_images=[stand_in],
        pixel_array=np.ones((1, 2, 2), np.uint8),
        segmentation_type=_TYPES[encoding],
        fractional_type="OCCUPANCY" if encoding == "occupancy" else "PROBABILITY",
        max_fractional_value=FULL,
        segment_descriptions=[_placeholder()],
        series_instance_uid=naming.series_uid,
        series_number=naming.series_number,
        sop_instance_uid=naming.sop_instance_uid,
        instance_number=1,
        manufacturer="voxtell-dicom",
        manufacturer_model_name="VoxTell",
        software_versions="0",
        device_serial_number="0",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        content_label=naming.content_label,
        content_description=naming.content_description,
        content_creator_name="",
        series_description=naming.series_description,
    )
    ds = Dataset()
    ds.update({element.tag: element for element in built if element.tag.group not in (0x5200, 0x7FE0)})
    shared = Dataset()
    shared.PlaneOrientationSequence = built.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    shared.PixelMeasuresSequence = built.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    if volume.parts:
        (measures,) = shared.PixelMeasuresSequence
        measures.SliceThickness = decimal(min(run.grid.spacing_mm[0] for run in volume.runs))
        measures.SpacingBetweenSlices = decimal(common_step_mm(volume))
    ds.SharedFunctionalGroupsSequence = [shared]
    if charset:  # not by highdicom, which refuses the empty first value that code extensions begin with
        ds.SpecificCharacterSet = charset if len(charset) > 1 else charset[0]
    _restore(ds, header)
    background = [built.SegmentSequence[0]] if encoding == "labelmap" else []
    ds.SegmentSequence = [*background, *segments]
    del ds.SourceImageSequence  # the per-frame groups and the Referenced Series Sequence say it for each frame
    ds.Rows, ds.Columns = volume.grid.shape[1:]
    ds.FrameOfReferenceUID = volume.frame_of_reference_uid
    return ds


def _stand_in(volume: Volume, header: Dataset, position: str) -> Dataset:
    """A single-frame CT image of 2 × 2 pixels in the plane of the volume's first frame."""
    image = Dataset()
    for element in header:
        if element.tag.group not in NOT_CARRIED and not element.tag.is_private:
            image.add(copy.copy(element))  # the values set below must not change the header
    for keyword in TYPE_2:
        setattr(image, keyword, "")
    for keyword in (
        "SpecificCharacterSet",
        "NumberOfFrames",
        "DimensionOrganizationSequence",
        "DimensionIndexSequence",
    ):
        if keyword in image:
            delattr(image, keyword)
    image.SOPClassUID = CTImageStorage
    image.StudyInstanceUID, image.SeriesInstanceUID = volume.study_uid, volume.series_uid
    image.SOPInstanceUID = volume.frames[0].sop_instance_uid
    image.Modality = volume.modality
    image.FrameOfReferenceUID = volume.frame_of_reference_uid
    image.PositionReferenceIndicator = str(header.get("PositionReferenceIndicator") or "")
    image.Rows = image.Columns = 2
    image.SamplesPerPixel, image.BitsAllocated = 1, 16
    grid = volume.grid
    image.ImagePositionPatient = position.split("\\")
    of_frames = int(header.get("NumberOfFrames") or 1) > 1  # what else the top level says is not theirs
    own = None if of_frames else header.get("ImageOrientationPatient")
    cosines = [*grid.row_cosine, *grid.column_cosine]
    image.ImageOrientationPatient = own if own else [decimal(value) for value in cosines]
    own = None if of_frames else header.get("PixelSpacing")
    image.PixelSpacing = own if own else [decimal(value) for value in grid.spacing_mm[1:]]
    image.SliceThickness = decimal(thickness_mm(header) or grid.spacing_mm[0])
    image.SpacingBetweenSlices = decimal(grid.spacing_mm[0])
    image.LossyImageCompression = "00"
    return image


def thickness_mm(header: Dataset) -> float:
    """Slice Thickness, 0 where there is none, or none that can be."""
    try:
        found = float(header.get("SliceThickness") or 0)
    except (TypeError, ValueError):
        return 0.0
    return found if 0 < found < 1e4 else 0.0


def _placeholder() -> highdicom.seg.SegmentDescription:
    """highdicom asks for a description; ours replace it."""
    codes = highdicom.sr.CodedConcept
    return highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label="stand-in",
        segmented_property_category=codes("91723000", "SCT", "Anatomical Structure"),
        segmented_property_type=codes("91723000", "SCT", "Anatomical Structure"),
        algorithm_type="MANUAL",
    )


def _restore(ds: Dataset, header: Dataset) -> None:
    """Identity as the source has it."""
    copy_subject(ds, header)
    for keyword in SERIES_LEVEL:
        if header.get(keyword) and keyword not in ds:
            ds[keyword] = header[keyword]

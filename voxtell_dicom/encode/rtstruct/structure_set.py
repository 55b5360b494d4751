"""The plan's masks as an RT Structure Set (PS3.3 A.19): closed planar contours on the source frames, UNAPPROVED.

Contours are written as bytes: a dataset for each of the ten thousands that a noisy mask has takes pydicom minutes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage

from voxtell_dicom.dicom.source_text import is_ascii
from voxtell_dicom.dicom.text import LO, ST, clipped
from voxtell_dicom.encode.common import implicit_vr as vr
from voxtell_dicom.encode.common import objects as common
from voxtell_dicom.encode.common import provenance, words
from voxtell_dicom.encode.common.context import OutputContext
from voxtell_dicom.encode.rtstruct.contours import Rings, keyholed, rings
from voxtell_dicom.model import Found, Frame, Mask, Result, Volume
from voxtell_dicom.terms.colors import Rgb, colors_of

SH = 16
HOLES = {  # how holes are written: what the object says of it
    "keyhole": "Holes: keyhole (PS3.3 C.8.8.6.3), joined to the outer contour by a channel of no width",
    "xor": "Holes: XOR (PS3.3 C.8.8.6.3), inner contours of their own, all of the ROI CLOSEDPLANAR_XOR",
    "inner": "Holes: inner contours of their own, CLOSED_PLANAR; within an outer one they take away",
}
DETACHED_STUDY = "1.2.840.10008.3.1.2.3.1"  # retired, and still what the module asks for (PS3.3 C.8.8.5)


def encode_rtstruct(context: OutputContext, holes: str = "") -> Result | None:
    """Write the structure set, or return the existing one; None where nothing was found.

    Each ROI is a prompt with voxels; holes by a method of HOLES, the plan's where `holes` names none (which makes
    another object); coordinates in patient space to 0.0001 mm, so that no decimal string exceeds 16 characters.
    Implicit VR, because long contours do not fit a DS of explicit VR. Raises Refusal.
    """
    plan, volume, maker = context.plan, context.volume, context.maker
    shown = [item for _, item in context.shown]
    if not shown:
        return None
    of_plan = plan.options.holes
    profile = holes if holes and holes != of_plan else "generic"
    method = holes or of_plan
    path = context.path("rtstruct", profile=profile)
    if (existing := context.existing("rtstruct", path)) is not None:
        return existing
    header = context.sources().newest
    ds = Dataset()
    texts = [item.prompt.label + item.prompt.text for item in shown]
    common.identify(ds, context.identity("rtstruct", header, texts, profile=profile))
    ds.SOPClassUID, ds.Modality = RTStructureSetStorage, "RTSTRUCT"
    ds.OperatorsName = ""
    ds.FrameOfReferenceUID = volume.frame_of_reference_uid
    ds.PositionReferenceIndicator = str(header.get("PositionReferenceIndicator") or "")
    ds.StructureSetLabel = clipped(f"AI {plan.rule}", SH)
    ds.StructureSetName = clipped(ds.SeriesDescription)
    ds.StructureSetDescription = HOLES[method]
    ds.StructureSetDate, ds.StructureSetTime = ds.ContentDate, ds.ContentTime
    del ds.ContentDate, ds.ContentTime  # not of this IOD
    ds.ReferencedFrameOfReferenceSequence = Items([_frame_of_reference(volume)])
    colors = colors_of([item.prompt for item in shown])
    labels = [item.prompt.label for item in shown]
    names, short = words.distinct(labels, LO, words.marked(maker)), words.distinct(labels, SH)
    rois, contours = [], []
    for number, (item, color) in enumerate(zip(shown, colors, strict=True), 1):
        shape = _of_frames(item.mask, volume, method)
        rois.append(_roi(number, names[number - 1], item, volume, maker, method if shape.holes else ""))
        contours.append(_roi_contour(number, color, shape))
    ds.StructureSetROISequence = Items(rois)
    rest = Dataset()
    rest.RTROIObservationsSequence = Items([_observation(number, label) for number, label in enumerate(short, 1)])
    rest.ApprovalStatus = "UNAPPROVED"
    if not is_ascii(context.text):
        words.fit(rest, ds.get("SpecificCharacterSet"))
    tail = (vr.sequence(0x3006, 0x0039, contours), _encoded(rest, ds.get("SpecificCharacterSet", "iso8859")))
    return context.write(ds, "rtstruct", path, tail, ImplicitVRLittleEndian)


def _encoded(ds: Dataset, charset: object) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, True
    write_dataset(buffer, ds, parent_encoding=charset)  # type: ignore[arg-type]
    return buffer.getvalue()


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


def _image(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, sop_instance_uid
    return item


def _roi(number: int, name: str, item: Found, volume: Volume, maker: provenance.Maker, method: str) -> Dataset:
    roi = Dataset()
    roi.ROINumber = number
    roi.ReferencedFrameOfReferenceUID = volume.frame_of_reference_uid
    roi.ROIName = name
    said = words.segment_description(item.prompt.text, item.mean_probability, item.uncertain_share)
    whole = f"{said}\r\n{HOLES[method]}" if method else said
    roi.ROIDescription = whole if len(whole) <= ST else said
    roi.ROIGenerationAlgorithm = "AUTOMATIC"
    roi.ROIGenerationDescription = clipped(f"{maker.name} {maker.version}")
    return roi


def _observation(number: int, label: str) -> Dataset:
    observation = Dataset()
    observation.ObservationNumber = observation.ReferencedROINumber = number
    observation.ROIObservationLabel = label
    observation.RTROIInterpretedType = ""
    observation.ROIInterpreter = ""
    return observation


@dataclass(frozen=True)
class _Contours:
    """The contours of one ROI, encoded; how many holes it has."""

    items: tuple[bytes, ...]
    holes: int


def _of_frames(mask: Mask, volume: Volume, method: str) -> _Contours:
    (first, _), (top, _), (left, _) = mask.box
    corner = np.array([top, left])
    found = [(volume.frames[first + offset], rings(plane)) for offset, plane in enumerate(mask.crop())]
    holes = sum(shapes.holes for _, shapes in found)
    kind = b"CLOSEDPLANAR_XOR" if method == "xor" and holes else b"CLOSED_PLANAR"
    multi = len({frame.sop_instance_uid for frame in volume.frames}) < len(volume.frames)
    items: list[bytes] = []
    for frame, shapes in found:
        shown = keyholed(shapes) if method == "keyhole" else shapes
        items += _on_frame(replace(shown, points=shown.points + corner), frame, volume, kind, multi)
    return _Contours(tuple(items), holes)


def _on_frame(found: Rings, frame: Frame, volume: Volume, kind: bytes, multi: bool) -> Iterator[bytes]:
    """Items of Contour Sequence in patient space, by the frame's own position (PS3.3 C.7.6.2.1.1, C.8.8.6)."""
    grid = volume.grid
    down = np.array(grid.column_cosine) * grid.spacing_mm[1]
    across = np.array(grid.row_cosine) * grid.spacing_mm[2]
    points = np.array(frame.position_mm) + found.points[:, :1] * down + found.points[:, 1:] * across
    written = (("%.4f\\%.4f\\%.4f\n" * len(points)) % tuple(points.ravel().tolist())).encode().split(b"\n")
    reference = vr.element(0x0008, 0x1150, frame.sop_class_uid.encode(), padding=b"\0")
    reference += vr.element(0x0008, 0x1155, frame.sop_instance_uid.encode(), padding=b"\0")
    if multi:
        reference += vr.element(0x0008, 0x1160, str(frame.number).encode())
    head = vr.sequence(0x3006, 0x0016, [reference]) + vr.element(0x3006, 0x0042, kind)
    for start, stop in itertools.pairwise(found.starts.tolist()):
        count = vr.element(0x3006, 0x0046, str(stop - start).encode())
        yield head + count + vr.element(0x3006, 0x0050, b"\\".join(written[start:stop]))


def _roi_contour(number: int, color: Rgb, contours: _Contours) -> bytes:
    """An item of ROI Contour Sequence (PS3.3 C.8.8.6)."""
    return (
        vr.element(0x3006, 0x002A, "\\".join(map(str, color)).encode())
        + vr.sequence(0x3006, 0x0040, contours.items)
        + vr.element(0x3006, 0x0084, str(number).encode())
    )

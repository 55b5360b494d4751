"""A page of a result as Secondary Capture (PS3.3 A.8): its picture, and the modules round it."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import SecondaryCaptureImageStorage

from voxtell_dicom.encode.common import objects as common
from voxtell_dicom.encode.common import provenance
from voxtell_dicom.encode.common.sources import Sources
from voxtell_dicom.model import Volume
from voxtell_dicom.terms.word_lists import words as word_list

FOOTER = "AI result, not for diagnosis"
Rgb8 = npt.NDArray[np.uint8]
Instances = Iterable[tuple[str, str]]  # SOP class, SOP instance


def footer(maker: provenance.Maker) -> str:
    """Return what stands below every page."""
    return FOOTER + (f" - {provenance.TEST_MARK}" if maker.test else "")


def pixels_of(figure: Any) -> Rgb8:
    """A matplotlib figure as (row, column, RGB)."""
    figure.canvas.draw()
    image: Rgb8 = np.asarray(figure.canvas.buffer_rgba(), np.uint8)[..., :3]
    return np.ascontiguousarray(image)


def instances_of(volume: Volume) -> list[tuple[str, str]]:
    """(SOP class, SOP instance) of each instance of a volume, once."""
    return list(dict.fromkeys((frame.sop_class_uid, frame.sop_instance_uid) for frame in volume.frames))


def mark_lossy(ds: Dataset, origin: Sources) -> None:
    """Say so where what is drawn on was compressed with loss (PS3.3 C.7.6.1.1.5)."""
    if origin.lossy:
        ds.LossyImageCompression = "01"
        if origin.lossy_ratio:
            ds.LossyImageCompressionRatio = list(origin.lossy_ratio)
        if origin.lossy_method:
            ds.LossyImageCompressionMethod = list(origin.lossy_method)


def capture(identity: common.Identity, image: Rgb8, instances: Instances) -> Dataset:
    """Return a page about `instances` of `identity.source`, whose header is recoded as the words need it."""
    ds = Dataset()
    common.identify(ds, identity)
    ds.SOPClassUID, ds.Modality = SecondaryCaptureImageStorage, "OT"
    ds.ConversionType = "WSD"
    ds.ImageType = ["DERIVED", "SECONDARY"]
    ds.PatientOrientation = ""
    ds.BurnedInAnnotation = "YES"  # contours and words; no identity
    ds.RecognizableVisualFeatures = "NO"
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.Rows, ds.Columns = image.shape[:2]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    ds.LossyImageCompression = "00"
    if str(ds.get("BodyPartExamined") or "").strip() not in word_list(
        "unpaired_body_part"
    ):  # then it is type 2 (PS3.3 C.7.3.1)
        ds.Laterality = ds.get("Laterality") or ""
    sources = []
    for sop_class, uid in instances:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
        sources.append(item)
    ds.SourceImageSequence = Items(sources)
    series = Dataset()
    series.SeriesInstanceUID = identity.source.series_uid
    series.ReferencedInstanceSequence = Items([copy.copy(item) for item in sources])
    ds.ReferencedSeriesSequence = Items([series])
    data = image.tobytes()
    ds.PixelData = data + b"\0" * (len(data) % 2)
    ds["PixelData"].VR = "OB"
    return ds

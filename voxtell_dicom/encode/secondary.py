"""Pages for a PACS that shows no SEG: burned-in contours, a legend and a warning, as Secondary Capture (PS3.3 A.8)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import SecondaryCaptureImageStorage

from voxtell_dicom.encode import common, provenance
from voxtell_dicom.encode.body_parts import UNPAIRED
from voxtell_dicom.encode.drawing import figure_of
from voxtell_dicom.encode.receipt import receipt_figure, receipt_lines
from voxtell_dicom.encode.scene import scene_of
from voxtell_dicom.encode.sources import read_sources
from voxtell_dicom.model import Found, Plan, Result, Volume

FOOTER = "AI result, not for diagnosis"
ROWS_PER_PAGE = 3
LT = 10000  # characters of Image Comments: VR LT allows 10240, line ends included
Rgb8 = npt.NDArray[np.uint8]


def encode_secondary(
    plan: Plan,
    volume: Volume,
    found: Sequence[Found],
    *,
    directory: Path,
    series_number_base: int = 100,
    engine: str | None = None,
) -> list[Result]:
    """One page per three segments: axial, coronal and sagittal cuts through each. None where nothing was found."""
    kept = [index for index, item in enumerate(found) if item.mask.voxels]
    pages = [list(range(start, min(start + ROWS_PER_PAGE, len(kept)))) for start in range(0, len(kept), ROWS_PER_PAGE)]
    paths = [common.path_of(plan, "secondary", directory, ordinal) for ordinal in range(1, len(pages) + 1)]
    maker = provenance.maker_of(plan, engine)
    scene = None
    results: list[Result] = []
    for ordinal, (page, path) in enumerate(zip(pages, paths, strict=True), 1):
        there = common.already("secondary", path, found, volume)
        if there is None:
            scene = scene or scene_of(volume, found, common.describe(plan, maker, volume, found))
            image = _pixels(figure_of(scene, page, footer=_footer(maker)))
            ds = _capture(plan, maker, volume, found, "secondary", image, series_number_base, ordinal)
            if results:  # one date and time of a series (PS3.3 C.7.3.1), also where a crash came between its pages
                first = pydicom.dcmread(results[0].path, stop_before_pixels=True)
                ds.SeriesDate, ds.SeriesTime = first.SeriesDate, first.SeriesTime
            there = common.publish(ds, "secondary", path, found, volume)
        results.append(there)
    return results


def encode_receipt(
    plan: Plan,
    volume: Volume,
    found: Sequence[Found],
    *,
    directory: Path,
    series_number_base: int = 100,
    engine: str | None = None,
) -> Result:
    """One page that says what was searched, what was found and what was not, with versions and time."""
    path = common.path_of(plan, "receipt", directory)
    there = common.already("receipt", path, found, volume)
    if there is not None:
        return there
    maker = provenance.maker_of(plan, engine)
    lines = receipt_lines(plan, maker, volume, found)
    image = _pixels(receipt_figure(lines, _footer(maker)))
    ds = _capture(plan, maker, volume, found, "receipt", image, series_number_base, 1, texts=lines)
    ds.DerivationDescription = "Words: what an AI segmentation searched, found and did not find"
    ds.ImageComments = "\n".join(lines)[:LT].replace("\n", "\r\n")  # the same words, for what does not read pixels
    return common.publish(ds, "receipt", path, found, volume)


def _footer(maker: provenance.Maker) -> str:
    return FOOTER + (f" - {provenance.TEST_MARK}" if maker.test else "")


def _pixels(figure: Any) -> Rgb8:
    figure.canvas.draw()
    image: Rgb8 = np.asarray(figure.canvas.buffer_rgba(), np.uint8)[..., :3]
    return np.ascontiguousarray(image)


def _capture(
    plan: Plan,
    maker: provenance.Maker,
    volume: Volume,
    found: Sequence[Found],
    kind: str,
    image: Rgb8,
    series_number_base: int,
    ordinal: int,
    texts: Sequence[str] = (),
) -> Dataset:
    ds = Dataset()
    origin = read_sources(volume)
    header = origin.newest
    base = series_number_base
    common.identify(
        ds, plan, maker, volume, header, kind, found, series_number_base=base, ordinal=ordinal, extra_texts=texts
    )
    ds.SOPClassUID, ds.Modality = SecondaryCaptureImageStorage, "OT"
    ds.ConversionType = "WSD"
    ds.ImageType = ["DERIVED", "SECONDARY"]
    ds.PatientOrientation = ""
    ds.BurnedInAnnotation = "YES"  # contours and words; no identity
    ds.RecognizableVisualFeatures = "NO"
    ds.DerivationDescription = "Contours of an AI segmentation drawn on reformatted source images"
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.Rows, ds.Columns = image.shape[:2]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    ds.LossyImageCompression = "00"
    if origin.lossy and kind == "secondary":  # what is drawn on was compressed (PS3.3 C.7.6.1.1.5)
        ds.LossyImageCompression = "01"
        if origin.lossy_ratio:
            ds.LossyImageCompressionRatio = list(origin.lossy_ratio)
        if origin.lossy_method:
            ds.LossyImageCompressionMethod = list(origin.lossy_method)
    if str(ds.get("BodyPartExamined") or "").strip() not in UNPAIRED:  # then it is type 2 (PS3.3 C.7.3.1)
        ds.Laterality = ds.get("Laterality") or ""
    sources = []
    for uid, sop_class in dict.fromkeys((frame.sop_instance_uid, frame.sop_class_uid) for frame in volume.frames):
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
        sources.append(item)
    ds.SourceImageSequence = Items(sources)
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedInstanceSequence = (
        volume.series_uid,
        Items([copy.copy(item) for item in sources]),
    )
    ds.ReferencedSeriesSequence = Items([series])
    data = image.tobytes()
    ds.PixelData = data + b"\0" * (len(data) % 2)
    ds["PixelData"].VR = "OB"
    return ds

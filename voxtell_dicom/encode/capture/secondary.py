"""Pages for a PACS that shows no SEG: burned-in contours, a legend and a warning, as Secondary Capture (PS3.3 A.8)."""

from __future__ import annotations

import pydicom

from voxtell_dicom.encode.capture.capture import capture, footer, instances_of, mark_lossy, pixels_of
from voxtell_dicom.encode.capture.drawing import figure_of
from voxtell_dicom.encode.capture.scene import scene_of
from voxtell_dicom.encode.common.context import OutputContext
from voxtell_dicom.model import Result

ROWS_PER_PAGE = 3


def encode_secondary(context: OutputContext) -> list[Result]:
    """One page per three segments: axial, coronal and sagittal cuts through each. None where nothing was found."""
    volume, count = context.volume, len(context.shown)
    pages = [list(range(start, min(start + ROWS_PER_PAGE, count))) for start in range(0, count, ROWS_PER_PAGE)]
    scene = None
    results: list[Result] = []
    for ordinal, page in enumerate(pages, 1):
        path = context.path("secondary", ordinal)
        result = context.existing("secondary", path)
        if result is None:
            origin = context.sources()
            scene = scene or scene_of(context.frames, context.found, context.description("secondary"))
            picture = pixels_of(figure_of(scene, page, footer=footer(context.maker)))
            identity = context.identity("secondary", origin.newest, ordinal=ordinal)
            ds = capture(identity, picture, instances_of(volume))
            ds.DerivationDescription = "Contours of an AI segmentation drawn on reformatted source images"
            mark_lossy(ds, origin)
            if results:  # one date and time of a series (PS3.3 C.7.3.1), also where a crash came between its pages
                first = pydicom.dcmread(results[0].path, stop_before_pixels=True)
                ds.SeriesDate, ds.SeriesTime = first.SeriesDate, first.SeriesTime
            result = context.write(ds, "secondary", path)
        results.append(result)
    return results

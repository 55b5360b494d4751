"""Pages for a PACS that shows no SEG: burned-in contours, a legend and a warning, as Secondary Capture (PS3.3 A.8)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pydicom

from voxtell_dicom.encode.capture.capture import capture, footer, instances_of, mark_lossy, pixels_of
from voxtell_dicom.encode.capture.drawing import figure_of
from voxtell_dicom.encode.capture.scene import scene_of
from voxtell_dicom.encode.common import objects as common
from voxtell_dicom.encode.common import provenance
from voxtell_dicom.encode.common.sources import read_sources
from voxtell_dicom.model import Found, Plan, Result, Volume

ROWS_PER_PAGE = 3


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
    description = common.describe(plan, maker, volume, found)
    scene = None
    results: list[Result] = []
    for ordinal, (page, path) in enumerate(zip(pages, paths, strict=True), 1):
        there = common.already("secondary", path, found, volume)
        if there is None:
            origin = read_sources(volume)
            scene = scene or scene_of(volume, found, description)
            ds = capture(
                plan,
                maker,
                volume,
                origin.newest,
                "secondary",
                description,
                pixels_of(figure_of(scene, page, footer=footer(maker))),
                instances_of(volume),
                series_number_base=series_number_base,
                ordinal=ordinal,
                remarks=common.remarks(plan, volume, found),
            )
            ds.DerivationDescription = "Contours of an AI segmentation drawn on reformatted source images"
            mark_lossy(ds, origin)
            if results:  # one date and time of a series (PS3.3 C.7.3.1), also where a crash came between its pages
                first = pydicom.dcmread(results[0].path, stop_before_pixels=True)
                ds.SeriesDate, ds.SeriesTime = first.SeriesDate, first.SeriesTime
            there = common.publish(ds, "secondary", path, found, volume)
        results.append(there)
    return results

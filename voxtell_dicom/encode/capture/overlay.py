"""A series to scroll, for a PACS that shows no SEG: every source frame with the contours burned in.

Single-frame Secondary Capture (PS3.3 A.8.1), which every PACS shows as images; many play multi-frame captures as clips,
and synchronise none of them. So each also has the position and orientation of its source frame, in its frame of
reference: a Standard Extended SOP Class (PS3.4 B.4.1), by which viewers scroll it beside the source.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from voxtell_dicom.dicom.headers import HeaderSource
from voxtell_dicom.encode.capture.burned import Scale, burner, letters_of, scale_of
from voxtell_dicom.encode.capture.capture import capture, footer, mark_lossy
from voxtell_dicom.encode.capture.scene import window_of
from voxtell_dicom.encode.common.context import OutputContext
from voxtell_dicom.encode.common.frame_values import FrameValues
from voxtell_dicom.encode.common.sources import Sources, decimal
from voxtell_dicom.encode.common.template import thickness_mm
from voxtell_dicom.encode.common.words import named_volume
from voxtell_dicom.model import Result, Vector, Volume
from voxtell_dicom.terms.colors import colors_of

KIND = "overlay"
LOOKED_AT = 12  # frames by which the grey scale is chosen, where the source does not say


def encode_overlay(context: OutputContext) -> list[Result]:
    """One image per source frame, in the source's order; none where nothing was found. One frame is held at a time."""
    volume, shown = context.volume, [item for _, item in context.shown]
    if not shown:
        return []
    ordinals = _ordinals(volume, context.headers)
    paths = [context.path(KIND, ordinal) for ordinal in ordinals]
    existing = {index: context.existing(KIND, path) for index, path in enumerate(paths)}
    results = {index: result for index, result in existing.items() if result}
    missing = set(existing) - set(results)
    if missing:
        origin = context.sources()
        grid = volume.grid
        scale = scale_of(grid.shape[1:], grid.spacing_mm[1:])
        labels = [item.prompt.label for item in shown]
        drawing = burner(
            [item.mask for item in shown],
            [named_volume(item.prompt.label, volume.millilitres(item.mask)) for item in shown],
            colors_of([item.prompt for item in shown]),
            scale=scale,
            matrix=grid.shape[1:],
            window=_window(context.frames, origin.newest),
            title=context.description(KIND),
            warning=footer(context.maker),
            sides=_sides(grid.row_cosine, grid.column_cosine),
        )
        when = next((_series_time(result.path) for result in results.values()), None)
        for index, values in context.frames.of(missing):
            frame = volume.frames[index]
            identity = context.identity(KIND, origin.newest, labels, ordinals[index])
            source = (frame.sop_class_uid, frame.sop_instance_uid)
            ds = capture(identity, drawing.picture(values, index), [source])
            when = when or (ds.SeriesDate, ds.SeriesTime)
            ds.SeriesDate, ds.SeriesTime = when  # one of a series (PS3.3 C.7.3.1)
            if len(volume.frames) > len({each.sop_instance_uid for each in volume.frames}):
                ds.SourceImageSequence[0].ReferencedFrameNumber = frame.number
            _lay(ds, volume, origin, index, scale)
            results[index] = context.write(ds, KIND, paths[index])
    return [results[index] for index in sorted(results, key=lambda index: ordinals[index])]


def _ordinals(volume: Volume, headers: HeaderSource) -> list[int]:
    """The place of each frame of the volume, from 1, as the source numbers its instances and frames."""
    numbers: dict[Path, int] = {}
    for path in dict.fromkeys(frame.path for frame in volume.frames):
        try:
            numbers[path] = int(headers(path).get("InstanceNumber") or 0)
        except (TypeError, ValueError, OverflowError):  # a word, several numbers: then the place in the volume tells
            numbers[path] = 0
    keys = [(numbers[frame.path], frame.number, index) for index, frame in enumerate(volume.frames)]
    places = {index: place for place, (_, _, index) in enumerate(sorted(keys), 1)}
    return [places[index] for index in range(len(keys))]


def _series_time(path: Path) -> tuple[str, str]:
    ds = pydicom.dcmread(path, stop_before_pixels=True)
    return str(ds.SeriesDate), str(ds.SeriesTime)


def _window(frames: FrameValues, header: Dataset) -> tuple[float, float]:
    """Values shown black and white: of CT as the source says, so that lungs look as on it; else as pages have it."""
    volume, photometric = frames.volume, str(header.get("PhotometricInterpretation", ""))
    center, width = (_first(header.get(keyword)) for keyword in ("WindowCenter", "WindowWidth"))
    if volume.modality == "CT" and center is not None and width is not None and width >= 1:
        low, high = center - width / 2, center + width / 2
        return (high, low) if photometric == "MONOCHROME1" else (low, high)
    some = np.linspace(0, len(volume.frames) - 1, min(LOOKED_AT, len(volume.frames))).astype(int)
    values = [values for _, values in frames.of({int(index) for index in some})]
    return window_of(np.stack(values), volume.modality, photometric)


def _first(value: Any) -> float | None:
    """Of one or several values; None where there is none, or no number."""
    try:
        return float(value[0] if hasattr(value, "__iter__") and not isinstance(value, str) else value)
    except (TypeError, ValueError, IndexError):
        return None


def _sides(row: Vector, column: Vector) -> list[str]:
    """The letters left, right, above and below a picture."""
    left, above = (letters_of((-x, -y, -z))[:1] for x, y, z in (row, column))
    return [left, letters_of(row)[:1], above, letters_of(column)[:1]]


def _lay(ds: Dataset, volume: Volume, origin: Sources, index: int, scale: Scale) -> None:
    """Return where the picture's pixels lie in the patient (PS3.3 C.7.4.1, C.7.6.2, C.7.6.1.1.1)."""
    grid, header = volume.grid, origin.newest
    ds.FrameOfReferenceUID = volume.frame_of_reference_uid
    ds.PositionReferenceIndicator = str(header.get("PositionReferenceIndicator") or "")
    ds.ImageOrientationPatient = [decimal(value) for value in (*grid.row_cosine, *grid.column_cosine)]
    ds.ImagePositionPatient = origin.positions[index].split("\\")
    down, across = (scale.first(axis) * grid.spacing_mm[axis + 1] for axis in (0, 1))
    if down or across:
        shift = np.array(grid.column_cosine) * down + np.array(grid.row_cosine) * across
        position = np.array(volume.frames[index].position_mm) + shift
        ds.ImagePositionPatient = [decimal(float(value)) for value in position]
    ds.PixelSpacing = [decimal(scale.spacing(axis, grid.spacing_mm[axis + 1])) for axis in (0, 1)]
    ds.SliceThickness = decimal(thickness_mm(header) or volume.frame_mm[index])
    ds.PatientOrientation = [letters_of(grid.row_cosine), letters_of(grid.column_cosine)]
    ds.DerivationDescription = "Contours of an AI segmentation drawn on each source image"
    mark_lossy(ds, origin)

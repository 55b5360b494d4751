"""What a picture shows: source values on their grid, masks on the same, names, colours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset

from voxtell_dicom.dicom.functional_groups import frame_value
from voxtell_dicom.dicom.headers import HeaderSource
from voxtell_dicom.dicom.pixels import decode
from voxtell_dicom.encode.common.frame_values import FrameValues
from voxtell_dicom.encode.common.words import named_volume
from voxtell_dicom.errors import EncodingError
from voxtell_dicom.model import Found, Mask, Volume
from voxtell_dicom.terms.colors import Rgb, colors_of, rgb_of

CT_WINDOW = (-160.0, 240.0)
UNEVEN = 1.2  # times the least distance of neighbouring frames: from here on the picture would be out of shape
SAME_PLACE_MM = 0.01  # frames nearer than this are at one place
MOST_STEPS = 4  # times the frames: how many a picture of uneven ones has at most


@dataclass(frozen=True)
class Scene:
    """Values and masks on one grid (frame, row, column). `steps_mm` are the steps along its axes, in LPS.

    Frames run along `steps_mm[0]`. `window`: values shown black and white; for PET the first is the larger.
    """

    values: npt.NDArray[Any]
    masks: tuple[Mask, ...]
    labels: tuple[str, ...]
    legend: tuple[str, ...]  # the same with the volumes, where they are known
    colors: tuple[Rgb, ...]
    steps_mm: npt.NDArray[np.float64]
    window: tuple[float, float]
    title: str


def scene_of(frames: FrameValues, found: Sequence[Found], title: str) -> Scene:
    """Of masks on the volume's source grid, those with voxels. Values are kept as half precision: 2 bytes a voxel."""
    volume, kept = frames.volume, [item for item in found if item.mask.voxels]
    values: npt.NDArray[np.float16] = np.zeros(volume.grid.shape, np.float16)
    for index, frame in frames.of(set(range(len(volume.frames)))):
        values[index] = np.clip(frame, -60000, 60000)
    grid = volume.grid
    positions = np.array([frame.position_mm for frame in volume.frames])
    down = np.array(grid.column_cosine) * grid.spacing_mm[1]
    across = np.array(grid.row_cosine) * grid.spacing_mm[2]
    scene = Scene(
        values,
        tuple(item.mask for item in kept),
        tuple(item.prompt.label for item in kept),
        tuple(named_volume(item.prompt.label, volume.millilitres(item.mask)) for item in kept),
        tuple(colors_of([item.prompt for item in kept])),
        np.stack([_through(positions, np.array(grid.normal)), down, across]),
        window_of(values[:: max(1, len(values) // 20)], volume.modality, _photometric(volume, frames.headers)),
        title,
    )
    return _evenly(scene, positions @ np.array(grid.normal))


def read_scene(seg_path: Path, source: Path | Iterable[Path]) -> Scene:
    """Of a segmentation and the source frames that it refers to: all that are found among the files are shown.

    Of a FRACTIONAL one, what is above half of its maximum.
    """
    seg = pydicom.dcmread(seg_path)
    if str(seg.get("SegmentationType", "")) not in ("BINARY", "FRACTIONAL", "LABELMAP"):
        raise EncodingError(f"{seg_path}: not a segmentation")
    segments = [item for item in seg.SegmentSequence if item.SegmentNumber > 0]  # 0 is the background of a label map
    files = sorted(path for path in source.rglob("*") if path.is_file()) if isinstance(source, Path) else list(source)
    frames = _source_frames(seg, files)
    shared = seg.SharedFunctionalGroupsSequence[0]
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
    spacing = [float(value) for value in shared.PixelMeasuresSequence[0].PixelSpacing]
    normal = np.cross(cosines[0], cosines[1])
    if not frames:
        raise EncodingError(f"{seg_path}: none of its source instances was found among {len(files)} files")
    order = _one_of_each_place(seg, {key: float(frame[0] @ normal) for key, frame in frames.items()})
    values = np.stack([frames[key][1] for key in order])
    positions = np.stack([frames[key][0] for key in order])
    labels = tuple(str(item.SegmentLabel) for item in segments)
    scene = Scene(
        values,
        _masks(seg, {key: index for index, key in enumerate(order)}, values.shape),
        labels,
        labels,
        tuple(rgb_of(item.get("RecommendedDisplayCIELabValue", [40000, 33000, 33000])) for item in segments),
        np.stack([_through(positions, normal), cosines[1] * spacing[0], cosines[0] * spacing[1]]),
        window_of(values[:: max(1, len(values) // 20)], *frames[order[0]][2:]),
        str(seg.get("SeriesDescription", "")),
    )
    return _evenly(scene, positions @ normal)


def _evenly(scene: Scene, depths_mm: npt.NDArray[np.float64]) -> Scene:
    """The scene with frames an even step apart, where they are not: at each step the frame that lies nearest."""
    gaps = np.abs(np.diff(depths_mm))
    if not gaps.size or gaps.max() <= UNEVEN * gaps.min():
        return scene
    count, extent = len(depths_mm), abs(depths_mm[-1] - depths_mm[0])
    steps = min(round(extent / gaps.min()), MOST_STEPS * count)
    even = np.linspace(depths_mm[0], depths_mm[-1], steps + 1)
    nearest = np.abs(even[:, None] - depths_mm[None]).argmin(axis=1)
    through = scene.steps_mm[0] * (count - 1) / steps
    return replace(
        scene,
        values=scene.values[nearest],
        masks=tuple(Mask.from_array(mask.to_array(scene.values.shape)[nearest]) for mask in scene.masks),
        steps_mm=np.stack([through, *scene.steps_mm[1:]]),
    )


_Key = tuple[str, int]


def _reference(item: Dataset) -> _Key:
    source = item.DerivationImageSequence[0].SourceImageSequence[0]
    return str(source.ReferencedSOPInstanceUID), int(source.get("ReferencedFrameNumber", 1) or 1)


def _one_of_each_place(seg: Dataset, depths_mm: dict[_Key, float]) -> list[_Key]:
    """The source frames in order. Of several at one place, another volume's of one object: that which the SEG refers
    to, or the nearest to one by its number.
    """
    referred = {_reference(item) for item in seg.PerFrameFunctionalGroupsSequence}

    def distance(key: _Key) -> int:
        return min((abs(key[1] - number) for uid, number in referred if uid == key[0]), default=1 << 30)

    order: list[_Key] = []
    for key in sorted(depths_mm, key=lambda key: (depths_mm[key], key)):
        if order and depths_mm[key] - depths_mm[order[-1]] < SAME_PLACE_MM:
            order[-1] = min(order[-1], key, key=distance)
        else:
            order.append(key)
    return order


def _masks(seg: Dataset, place: dict[_Key, int], shape: tuple[int, ...]) -> tuple[Mask, ...]:
    """One segment at a time is held dense."""
    pixels = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    labelmap = seg.SegmentationType == "LABELMAP"
    half = int(seg.get("MaximumFractionalValue", 1)) // 2
    frames: dict[int, list[tuple[int, int]]] = {int(item.SegmentNumber): [] for item in seg.SegmentSequence}
    frames.pop(0, None)
    for number, item in enumerate(seg.PerFrameFunctionalGroupsSequence):
        key = _reference(item)
        if key in place and labelmap:
            for pairs in frames.values():
                pairs.append((place[key], number))
        elif key in place:
            frames[int(item.SegmentIdentificationSequence[0].ReferencedSegmentNumber)].append((place[key], number))
    masks = []
    for segment, pairs in frames.items():
        dense = np.zeros(shape, bool)
        for index, number in pairs:
            dense[index] |= pixels[number] == segment if labelmap else pixels[number] > half
        masks.append(Mask.from_array(dense))
    return tuple(masks)


def _source_frames(
    seg: Dataset, files: Sequence[Path]
) -> dict[_Key, tuple[npt.NDArray[np.float64], npt.NDArray[np.float32], str, str]]:
    """(SOP Instance UID, frame number) → position, rescaled values, modality, Photometric Interpretation.

    Of what the SEG refers to.
    """
    wanted = {
        str(item.ReferencedSOPInstanceUID)
        for series in seg.ReferencedSeriesSequence
        for item in series.ReferencedInstanceSequence
    }
    found = {}
    for path in files:
        try:
            head = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"])
        except (pydicom.errors.InvalidDicomError, OSError):
            continue
        if str(head.get("SOPInstanceUID", "")) not in wanted:
            continue
        ds = pydicom.dcmread(path, stop_before_pixels=True)
        if (ds.get("Rows"), ds.get("Columns")) != (seg.Rows, seg.Columns):
            continue
        kind = str(ds.get("Modality", "")), str(ds.get("PhotometricInterpretation", ""))
        positions = {
            number: np.array([float(value) for value in position])
            for number in range(1, int(ds.get("NumberOfFrames") or 1) + 1)
            if (position := frame_value(ds, number, "ImagePositionPatient"))
        }
        for (number, where), (stored, rescale) in zip(positions.items(), decode(path, list(positions)), strict=True):
            found[str(ds.SOPInstanceUID), number] = (where, rescale.real(stored), *kind)
    return found


def _through(positions: npt.NDArray[np.float64], normal: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The step from frame to frame; of a single one, a millimetre along the normal."""
    return (positions[-1] - positions[0]) / (len(positions) - 1) if len(positions) > 1 else normal


def _photometric(volume: Volume, headers: HeaderSource) -> str:
    return str(headers(volume.frames[0].path).get("PhotometricInterpretation", ""))


def window_of(some: npt.NDArray[Any], modality: str, photometric: str) -> tuple[float, float]:
    """Values shown black and white. `some`: frames by which it is chosen, but for CT.

    PET is shown black on white, and so is what its scanner shows so (MONOCHROME1).
    """
    low, high = CT_WINDOW if modality == "CT" else np.percentile(some.astype(np.float32), [1, 99.5]).tolist()
    return (high, low) if modality == "PT" or photometric == "MONOCHROME1" else (low, high)

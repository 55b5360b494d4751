"""A picture of a segmentation on its source: three planes through the segments, contours in their colours, a legend."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset

from voxtell_dicom.encode.colors import Rgb, rgb_of
from voxtell_dicom.errors import EncodingError

Floats = npt.NDArray[np.float32]
Masks = list[npt.NDArray[np.bool_]]
PLANES = ("axial", "coronal", "sagittal")
# Patient axes (LPS) of each plane: across the picture, down the picture, through it. Left of patient on the right.
_VIEWS = {"axial": (0, 1, 2), "coronal": (0, 2, 1), "sagittal": (1, 2, 0)}
WINDOWS = {"CT": (40.0, 400.0)}
LABEL = ("R", "L"), ("A", "P"), ("I", "S")


@dataclass(frozen=True)
class Scene:
    """Source values and masks on the same grid (frame, row, column), with the direction of each axis in LPS."""

    values: Floats
    masks: Masks
    labels: tuple[str, ...]
    colors: tuple[Rgb, ...]
    steps_mm: npt.NDArray[np.float64]  # (3, 3): step along frame, row, column in LPS mm
    modality: str
    title: str


def picture(seg_path: Path, source: Path | Iterable[Path] | None, out_png: Path) -> Path:
    """Draw a BINARY SEG: a row of three planes for the whole and up to three more for the smallest segments.

    source: a folder (searched for the instances that the SEG refers to) or the files themselves; None looks in the
    SEG's own folder. Returns `out_png`. Raises EncodingError where the SEG or the source cannot be shown.
    """
    scene = read_scene(seg_path, source if source is not None else seg_path.parent)
    out_png.parent.mkdir(parents=True, exist_ok=True)
    _draw(scene, out_png)
    return out_png


def read_scene(seg_path: Path, source: Path | Iterable[Path]) -> Scene:
    """Read a SEG and the frames it refers to. All source frames of its series that are found are shown."""
    seg = pydicom.dcmread(seg_path)
    if str(seg.get("Modality", "")) != "SEG" or int(seg.get("BitsAllocated", 0)) != 1:
        raise EncodingError(f"{seg_path}: not a BINARY segmentation")
    files = sorted(path for path in source.rglob("*") if path.is_file()) if isinstance(source, Path) else list(source)
    frames = _source_frames(seg, files)
    if not frames:
        raise EncodingError(f"{seg_path}: none of its source instances was found among {len(files)} files")
    order = _order(frames, seg)
    values = np.stack([frames[key][1] for key in order])
    place = {key: index for index, key in enumerate(order)}
    masks: Masks = [np.zeros(values.shape, bool) for _ in seg.SegmentSequence]
    pixels = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    for item, bits in zip(seg.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        reference = item.DerivationImageSequence[0].SourceImageSequence[0]
        key = (str(reference.ReferencedSOPInstanceUID), int(reference.get("ReferencedFrameNumber", 1) or 1))
        if key in place:
            masks[int(item.SegmentIdentificationSequence[0].ReferencedSegmentNumber) - 1][place[key]] |= bits > 0
    shared = seg.SharedFunctionalGroupsSequence[0]
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
    spacing = [float(value) for value in shared.PixelMeasuresSequence[0].PixelSpacing]
    positions = [frames[key][0] for key in order]
    along = np.asarray(positions[-1]) - np.asarray(positions[0])
    through = along / max(1, len(order) - 1) if len(order) > 1 else np.cross(*cosines)
    return Scene(
        values,
        masks,
        tuple(str(item.SegmentLabel) for item in seg.SegmentSequence),
        tuple(rgb_of(item.get("RecommendedDisplayCIELabValue", [40000, 33000, 33000])) for item in seg.SegmentSequence),
        np.stack([through, cosines[1] * spacing[0], cosines[0] * spacing[1]]),
        str(frames[order[0]][2]),
        str(seg.get("SeriesDescription", "")),
    )


_Key = tuple[str, int]
_FrameData = tuple[npt.NDArray[np.float64], Floats, str]


def _source_frames(seg: Dataset, files: Sequence[Path]) -> dict[_Key, _FrameData]:
    """(SOP Instance UID, frame number) → position, rescaled values, modality; of what the SEG refers to."""
    wanted = {
        str(item.ReferencedSOPInstanceUID)
        for series in seg.ReferencedSeriesSequence
        for item in series.ReferencedInstanceSequence
    }
    found: dict[_Key, _FrameData] = {}
    for path in files:
        try:
            head = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"])
        except (pydicom.errors.InvalidDicomError, OSError):
            continue
        if str(head.get("SOPInstanceUID", "")) not in wanted:
            continue
        ds = pydicom.dcmread(path)
        pixels = ds.pixel_array.reshape(-1, ds.Rows, ds.Columns)
        for number, values in enumerate(pixels, 1):
            position, slope, intercept = _frame_facts(ds, number)
            if position is not None:
                scaled = values.astype(np.float32) * np.float32(slope) + np.float32(intercept)
                found[str(ds.SOPInstanceUID), number] = (position, scaled, str(ds.get("Modality", "")))
    return found


def _frame_facts(ds: Dataset, number: int) -> tuple[npt.NDArray[np.float64] | None, float, float]:
    """Position, rescale slope and intercept of a frame, at the top level or in the functional groups."""
    places: list[Any] = [ds]
    if "PerFrameFunctionalGroupsSequence" in ds:
        groups = (ds.PerFrameFunctionalGroupsSequence[number - 1], ds.SharedFunctionalGroupsSequence[0])
        for group in groups:
            for keyword in ("PlanePositionSequence", "PixelValueTransformationSequence"):
                places += list(group.get(keyword) or [])
    found = {}
    for keyword in ("ImagePositionPatient", "RescaleSlope", "RescaleIntercept"):
        found[keyword] = next((place.get(keyword) for place in places if place.get(keyword) is not None), None)
    position = found["ImagePositionPatient"]
    return (
        np.array([float(value) for value in position]) if position else None,
        float(found["RescaleSlope"] if found["RescaleSlope"] is not None else 1),
        float(found["RescaleIntercept"] if found["RescaleIntercept"] is not None else 0),
    )


def _order(frames: dict[_Key, _FrameData], seg: Dataset) -> list[_Key]:
    """Frames in their order along the normal of the SEG's plane."""
    shared = seg.SharedFunctionalGroupsSequence[0]
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(cosines[0], cosines[1])
    size = (int(seg.Rows), int(seg.Columns))
    return sorted(
        (key for key, frame in frames.items() if frame[1].shape == size), key=lambda key: float(frames[key][0] @ normal)
    )


def _draw(scene: Scene, out_png: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    rows = _centres(scene)
    figure = Figure(figsize=(12, 4.1 * len(rows) + 0.9), facecolor="black", dpi=90)
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), 3, squeeze=False)
    low, high = _window(scene)
    for line, (name, centre) in enumerate(rows):
        for axis, plane in zip(axes[line], PLANES, strict=True):
            _plane(axis, scene, plane, centre, low, high)
            axis.set_title(f"{plane}, through {name}"[:60], color="white", fontsize=9)
    handles = [
        Line2D([], [], color=np.array(color) / 255, lw=3, label=label[:64])
        for label, color in zip(scene.labels, scene.colors, strict=True)
    ]
    figure.legend(
        handles=handles,
        loc="lower center",
        ncols=min(4, max(1, len(handles))),
        frameon=False,
        labelcolor="white",
        fontsize=8,
    )
    figure.suptitle(scene.title, color="white", fontsize=11)
    figure.tight_layout(rect=(0, 0.03 + 0.025 * (1 + len(handles) // 4), 1, 0.98))
    figure.savefig(out_png, facecolor="black")


def _centres(scene: Scene) -> list[tuple[str, npt.NDArray[np.intp]]]:
    """What the planes go through: the largest segment, and the two smallest that the first row may have missed."""
    sizes = [int(np.count_nonzero(mask)) for mask in scene.masks]
    by_size = [index for index in np.argsort(sizes)[::-1] if sizes[index]]
    if not by_size:
        return [("the middle", np.array(scene.values.shape) // 2)]
    chosen = list(dict.fromkeys([int(by_size[0]), *(int(index) for index in by_size[::-1][:2])]))
    return [(scene.labels[index], _heart(scene.masks[index])) for index in chosen]


def _heart(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """A voxel of the mask near its centre of gravity."""
    where = np.argwhere(mask)
    return where[np.argmin(((where - where.mean(axis=0)) ** 2).sum(axis=1))]  # type: ignore[no-any-return]


def _window(scene: Scene) -> tuple[float, float]:
    if scene.modality in WINDOWS:
        centre, width = WINDOWS[scene.modality]
        return centre - width / 2, centre + width / 2
    low, high = np.percentile(scene.values[:: max(1, len(scene.values) // 20)], [1, 99.5])
    if scene.modality == "PT":
        return float(high), float(low)
    return float(low), float(high)


def _plane(axis: Any, scene: Scene, plane: str, centre: npt.NDArray[np.intp], low: float, high: float) -> None:
    """One plane: the grid axis nearest to each patient axis, flipped so that directions are the radiologist's."""
    names = _nearest_axes(scene.steps_mm)
    across, down, through = (names[axis_lps] for axis_lps in _VIEWS[plane])
    flips = [scene.steps_mm[across][_VIEWS[plane][0]] < 0, scene.steps_mm[down][_VIEWS[plane][1]] < 0]
    flips[1] ^= _VIEWS[plane][1] == 2  # superior is up, and pictures are drawn downwards

    def cut(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        flat = np.take(array, int(centre[through]), axis=through)
        flat = flat if across > down else flat.T
        flipped: npt.NDArray[Any] = flat[:: -1 if flips[1] else 1, :: -1 if flips[0] else 1]
        return flipped

    sizes = np.linalg.norm(scene.steps_mm, axis=1)
    image = cut(scene.values)
    axis.imshow(image, cmap="gray", vmin=min(low, high), vmax=max(low, high), interpolation="nearest")
    if low > high:
        axis.images[0].set_cmap("gray_r")
    axis.set_aspect(sizes[down] / sizes[across])
    for mask, color in zip(scene.masks, scene.colors, strict=True):
        flat = np.pad(cut(mask), 1)
        if flat.any():
            rows, columns = np.arange(flat.shape[0]) - 1, np.arange(flat.shape[1]) - 1
            axis.contour(
                columns, rows, flat.astype(float), levels=[0.5], colors=[tuple(np.array(color) / 255)], linewidths=1.3
            )
    first, second = LABEL[_VIEWS[plane][0]], LABEL[_VIEWS[plane][1]]
    second = second[::-1] if _VIEWS[plane][1] == 2 else second
    for text, x, y in ((first[0], 0.02, 0.5), (first[1], 0.98, 0.5), (second[0], 0.5, 0.97), (second[1], 0.5, 0.03)):
        axis.text(x, y, text, color="yellow", transform=axis.transAxes, ha="center", va="center", fontsize=9)
    axis.set_axis_off()


def _nearest_axes(steps_mm: npt.NDArray[np.float64]) -> list[int]:
    """For each patient axis (L, P, S) the grid axis that runs most along it, each used once."""
    from itertools import permutations

    unit = np.abs(steps_mm / np.linalg.norm(steps_mm, axis=1, keepdims=True))
    best = max(permutations(range(3)), key=lambda order: sum(unit[order[lps], lps] for lps in range(3)))
    return list(best)

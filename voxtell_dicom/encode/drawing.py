"""A scene as a figure: rows of axial, coronal and sagittal cuts, contours in the segments' colours, a legend."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt

from voxtell_dicom.encode.scene import Scene
from voxtell_dicom.model import Mask

PLANES = ("axial", "coronal", "sagittal")
# Patient axes (L, P, S = 0, 1, 2) of each plane: across the picture, down it, through it.
_VIEWS = {"axial": (0, 1, 2), "coronal": (0, 2, 1), "sagittal": (1, 2, 0)}
_ENDS = (("R", "L"), ("A", "P"), ("S", "I"))
_Ints = npt.NDArray[np.intp]


def figure_of(scene: Scene, through: Sequence[int], *, footer: str = "") -> Any:
    """A matplotlib figure, one row per segment of `through` (indices); the middle of the stack where that is empty."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    rows = [(scene.labels[index], _heart(scene.masks[index])) for index in through]
    rows = rows or [("the middle", np.array(scene.values.shape) // 2)]
    figure = Figure(figsize=(12, 4.1 * len(rows) + 1.1), facecolor="black", dpi=90)
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), 3, squeeze=False)
    for line, (name, centre) in enumerate(rows):
        for axis, plane in zip(axes[line], PLANES, strict=True):
            _plane(axis, scene, plane, centre)
            axis.set_title(f"{plane}, through {name}"[:60], color="white", fontsize=9)
    handles = [
        Line2D([], [], color=np.array(color) / 255, lw=3, label=label)
        for label, color in zip(scene.labels, scene.colors, strict=True)
    ]
    columns = min(4, max(1, len(handles)))
    figure.legend(
        handles=handles, loc="lower center", bbox_to_anchor=(0.5, 0.02), ncols=columns, frameon=False,
        labelcolor="white", fontsize=8,
    )  # fmt: skip
    figure.suptitle(scene.title, color="white", fontsize=11)
    if footer:
        figure.text(0.5, 0.005, footer, color="yellow", ha="center", va="bottom", fontsize=11)
    lines = -(-len(handles) // columns) if handles else 0
    figure.tight_layout(rect=(0, (0.35 + 0.22 * lines) / figure.get_figheight(), 1, 0.98))
    return figure


def representative(scene: Scene, most: int = 3) -> list[int]:
    """Segments to cut through: the largest, and the smallest that its planes may have missed."""
    by_size = sorted(range(len(scene.masks)), key=lambda index: -scene.masks[index].voxels)
    by_size = [index for index in by_size if scene.masks[index].voxels]
    return list(dict.fromkeys([*by_size[:1], *by_size[::-1][: most - 1]]))


def _heart(mask: Mask) -> _Ints:
    """A voxel of the mask near its centre of gravity."""
    where = np.argwhere(mask.crop())
    heart: _Ints = where[np.argmin(((where - where.mean(axis=0)) ** 2).sum(axis=1))]
    heart += np.array([start for start, _ in mask.box])
    return heart


def _plane(axis: Any, scene: Scene, plane: str, centre: _Ints) -> None:
    """One cut: the grid axis nearest to each patient axis, flipped so that directions are the radiologist's."""
    across_lps, down_lps, through_lps = _VIEWS[plane]
    grid_axes = _nearest_axes(scene.steps_mm)
    across, down, through = grid_axes[across_lps], grid_axes[down_lps], grid_axes[through_lps]
    flip_across = bool(scene.steps_mm[across][across_lps] < 0)
    flip_down = bool(scene.steps_mm[down][down_lps] < 0) != (down_lps == 2)  # superior is up, rows run downwards

    def turned(flat: npt.NDArray[Any]) -> npt.NDArray[Any]:
        upright = flat if across > down else flat.T
        return upright[:: -1 if flip_down else 1, :: -1 if flip_across else 1]

    at = int(centre[through])
    low, high = scene.window
    image = turned(np.take(scene.values, at, axis=through)).astype(np.float32)
    axis.imshow(
        image,
        cmap="gray" if low < high else "gray_r",
        vmin=min(low, high),
        vmax=max(low, high),
        interpolation="nearest",
    )
    sizes = np.linalg.norm(scene.steps_mm, axis=1)
    axis.set_aspect(sizes[down] / sizes[across])
    for mask, color in zip(scene.masks, scene.colors, strict=True):
        flat = np.pad(turned(_cut(mask, scene.values.shape, through, at)), 1)
        if flat.any():
            rows, columns = np.arange(flat.shape[0]) - 1, np.arange(flat.shape[1]) - 1
            line = [tuple(np.array(color) / 255)]
            axis.contour(columns, rows, flat.astype(float), levels=[0.5], colors=line, linewidths=1.3)
    left, right = _ENDS[across_lps]
    top, bottom = _ENDS[down_lps]
    for text, x, y in ((left, 0.02, 0.5), (right, 0.98, 0.5), (top, 0.5, 0.97), (bottom, 0.5, 0.03)):
        axis.text(x, y, text, color="yellow", transform=axis.transAxes, ha="center", va="center", fontsize=9)
    axis.set_axis_off()


def _cut(mask: Mask, shape: tuple[int, ...], axis: int, at: int) -> npt.NDArray[np.bool_]:
    """The plane `at` along an axis of the grid, from the mask's box alone."""
    flat: npt.NDArray[np.bool_] = np.zeros([size for other, size in enumerate(shape) if other != axis], bool)
    start, stop = mask.box[axis]
    if start <= at < stop:
        inside = tuple(part for other, part in enumerate(mask.slices) if other != axis)
        flat[inside] = np.take(mask.crop(), at - start, axis=axis)
    return flat


def _nearest_axes(steps_mm: npt.NDArray[np.float64]) -> list[int]:
    """For each patient axis (L, P, S) the grid axis that runs most along it, each used once."""
    unit = np.abs(steps_mm / np.linalg.norm(steps_mm, axis=1, keepdims=True).clip(1e-9))
    best = max(permutations(range(3)), key=lambda order: sum(unit[order[lps], lps] for lps in range(3)))
    return list(best)

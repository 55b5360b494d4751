"""A scene as a figure: rows of axial, coronal and sagittal cuts, contours in the segments' colours, a legend."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt

from voxtell_dicom.encode.capture.fonts import BOX, fonts_for
from voxtell_dicom.encode.capture.scene import Scene
from voxtell_dicom.encode.rtstruct.contours import rings
from voxtell_dicom.model import Mask

PLANES = ("axial", "coronal", "sagittal")
# Patient axes (L, P, S = 0, 1, 2) of each plane: across the picture, down it, through it.
_VIEWS = {"axial": (0, 1, 2), "coronal": (0, 2, 1), "sagittal": (1, 2, 0)}
_ENDS = (("R", "L"), ("A", "P"), ("S", "I"))
_TITLE, _LEGEND = 46, 150  # letters over a picture, and beside one another in the legend
NO_GLYPH = f"{BOX}: no font here has this letter"
_Ints = npt.NDArray[np.intp]


def figure_of(scene: Scene, through: Sequence[int], *, footer: str = "") -> Any:
    """A matplotlib figure, one row per segment of `through` (indices); the middle of the stack where that is empty."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    rows = [(scene.labels[index], _heart(scene.masks[index])) for index in through]
    rows = rows or [("the middle", np.array(scene.values.shape) // 2)]
    fonts = fonts_for([*scene.legend, scene.title])
    family, labels = list(fonts.families), [fonts.drawable(label) for label in scene.legend]
    widest = max((width_of(label) for label in labels), default=0) + 8
    columns = max(1, min(4, len(labels), _LEGEND // widest))
    legend_in = 0.35 + 0.22 * -(-len(labels) // columns)
    figure = Figure(figsize=(12, 4.1 * len(rows) + 0.75 + legend_in), facecolor="black", dpi=90)
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), 3, squeeze=False)
    for line, (name, centre) in enumerate(rows):
        for axis, plane in zip(axes[line], PLANES, strict=True):
            _plane(axis, scene, plane, centre)
            words = fonts.drawable(f"{plane}, through {name}")
            words = words if len(words) <= _TITLE else words[: _TITLE - 3] + "..."
            axis.set_title(words, color="white", fontsize=9, family=family, parse_math=False)
    handles = [
        Line2D([], [], color=np.array(color) / 255, lw=3, label=label)
        for label, color in zip(labels, scene.colors, strict=True)
    ]
    legend = figure.legend(
        handles=handles, loc="lower center", bbox_to_anchor=(0.5, 0.02), ncols=columns, frameon=False,
        labelcolor="white", prop={"family": family, "size": 8},
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)
    figure.suptitle(fonts.drawable(scene.title), color="white", fontsize=11, family=family, parse_math=False)
    if fonts.undrawable:
        footer = f"{footer}   {NO_GLYPH}".strip()
    if footer:
        figure.text(0.5, 0.005, footer, color="yellow", ha="center", va="bottom", fontsize=11)
    height = figure.get_figheight()
    figure.subplots_adjust(0.03, legend_in / height, 0.97, 1 - 0.75 / height, wspace=0.08, hspace=0.12)
    return figure


def width_of(text: str) -> int:
    """Of a text in letters; Chinese, Japanese and Korean ones are twice as wide."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


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
    from matplotlib.collections import LineCollection

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
    lines, colors = [], []
    for mask, color in zip(scene.masks, scene.colors, strict=True):
        found = rings(turned(_cut(mask, scene.values.shape, through, at)))
        closed = [found.ring(number)[[*range(len(found.ring(number))), 0], ::-1] for number in range(len(found))]
        lines += closed
        colors += [tuple(np.array(color) / 255)] * len(closed)
    axis.add_collection(LineCollection(lines, colors=colors, linewidths=1.3), autolim=False)
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

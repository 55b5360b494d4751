"""Contours burned into the pixels of a source frame, at its own matrix, with a legend below: quick, for a whole series.

Nothing is resampled: a pixel becomes so many by so many, or so many by so many become one, and the picture says where
its pixels lie.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from voxtell_dicom.encode.capture.capture import Rgb8, pixels_of
from voxtell_dicom.encode.capture.drawing import NO_GLYPH, width_of
from voxtell_dicom.encode.capture.fonts import Fonts, fonts_for
from voxtell_dicom.model import BoolArray, Mask, Vector
from voxtell_dicom.terms.colors import Rgb

SHORTEST, LONGEST = 384, 1024  # pixels of the longer side: room for words, and no more than a screen has
MOST_TIMES = 8  # that a pixel much longer than wide is repeated, so that words are not drawn out
LINE, LETTER = 16, 7  # pixels of the legend: from line to line, and of a letter
YELLOW, WHITE = (255, 255, 0), (255, 255, 255)
_DPI = 100


@dataclass(frozen=True)
class Scale:
    """Along the rows' and the columns' axis: how many times a source pixel is repeated; of how many one is made."""

    times: tuple[int, int]
    every: int = 1

    def first(self, axis: int) -> float:
        """Return where the centre of the picture's first pixel lies, in source pixels from the centre of theirs."""
        return (self.every / self.times[axis] - 1) / 2

    def spacing(self, axis: int, source_mm: float) -> float:
        """Between the centres of the picture's pixels."""
        return source_mm * self.every / self.times[axis]

    def gray(self, plane: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Values at the picture's pixels: means where several become one."""
        if self.every > 1:
            return np.asarray(self._blocks(plane).mean(axis=(1, 3)), np.float32)
        return np.repeat(np.repeat(plane, self.times[0], axis=0), self.times[1], axis=1)

    def mask(self, plane: BoolArray) -> BoolArray:
        """The same of a mask: no voxel is lost."""
        if self.every > 1:
            return np.asarray(self._blocks(plane).any(axis=(1, 3)))
        return np.repeat(np.repeat(plane, self.times[0], axis=0), self.times[1], axis=1)

    def _blocks(self, plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
        rows, columns = (-(-size // self.every) for size in plane.shape)
        room = rows * self.every - plane.shape[0], columns * self.every - plane.shape[1]
        whole = np.pad(plane, ((0, room[0]), (0, room[1])), mode="edge")
        return whole.reshape(rows, self.every, columns, self.every)


def scale_of(matrix: tuple[int, int], spacing_mm: tuple[float, float]) -> Scale:
    """Small matrices and long pixels are enlarged by whole numbers, huge matrices made smaller by one."""
    finest = min(spacing_mm)
    down, across = (min(MOST_TIMES, max(1, round(mm / finest))) for mm in spacing_mm)
    longer = max(matrix[0] * down, matrix[1] * across)
    if longer > LONGEST:
        down, across, longer = 1, 1, max(matrix)
    more = max(1, math.ceil(SHORTEST / longer))
    return Scale((down * more, across * more), max(1, math.ceil(longer / LONGEST)))


@dataclass(frozen=True)
class Burner:
    """What is the same for all pictures of a series. `window`: values shown black and white."""

    scale: Scale
    window: tuple[float, float]
    masks: tuple[Mask, ...]
    colors: tuple[Rgb, ...]
    order: tuple[int, ...]  # in which they are drawn: the smaller ones above the larger
    legend: Rgb8
    warning: Rgb8
    letters: tuple[Rgb8, ...]  # left, right, top, bottom

    def picture(self, values: npt.NDArray[np.float32], index: int) -> Rgb8:
        """Frame `index` of the volume: (row, column, RGB)."""
        low, high = self.window
        shown = np.clip((self.scale.gray(values) - low) * (255 / (high - low)), 0, 255).astype(np.uint8)
        height, width = shown.shape
        page: Rgb8 = np.empty((height + len(self.legend), width, 3), np.uint8)
        page[:height], page[height:] = shown[..., None], self.legend
        left, right, top, bottom = self.letters
        middle = ((height - left.shape[0]) // 2, (width - top.shape[1]) // 2)
        _stamp(page, self.warning, 2, 2)
        _stamp(page, left, middle[0], 2)
        _stamp(page, right, middle[0], width - right.shape[1] - 2)
        _stamp(page, top, self.warning.shape[0] + 4, middle[1])
        _stamp(page, bottom, height - bottom.shape[0] - 2, middle[1])
        for number in self.order:
            self._outline(page, values.shape, number, index)
        return page

    def _outline(self, page: Rgb8, shape: tuple[int, ...], number: int, index: int) -> None:
        """The outermost pixels of a segment, within it."""
        mask = self.masks[number]
        _, rows, columns = mask.box
        inside = mask.plane(index)
        if not inside.any():
            return
        if self.scale.every > 1:  # blocks begin at the corner of the frame, not of the box
            whole = np.zeros(shape, bool)
            whole[slice(*rows), slice(*columns)] = inside
            inside, rows, columns = whole, (0, shape[0]), (0, shape[1])
        inside = self.scale.mask(inside)
        top, left = rows[0] * self.scale.times[0], columns[0] * self.scale.times[1]
        part = page[top : top + inside.shape[0], left : left + inside.shape[1]]
        part[edge(inside)] = self.colors[number]


def edge(inside: BoolArray) -> BoolArray:
    """The pixels of a region that have a neighbour (of four) outside of it."""
    around = np.pad(inside, 1)
    core = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return np.asarray(inside & ~core)


def burner(
    masks: Sequence[Mask],
    labels: Sequence[str],
    colors: Sequence[Rgb],
    *,
    scale: Scale,
    matrix: tuple[int, int],
    window: tuple[float, float],
    title: str,
    warning: str,
    sides: Sequence[str],
) -> Burner:
    """sides: the letters left, right, above and below. Legend and words are drawn once."""
    rows, columns = (-(-size * times // scale.every) for size, times in zip(matrix, scale.times, strict=True))
    fonts = fonts_for([title, *labels])
    order = sorted(range(len(masks)), key=lambda number: -masks[number].voxels)
    low, high = window
    return Burner(
        scale,
        (low, high if high != low else low + 1),
        tuple(masks),
        tuple(colors),
        tuple(order),
        _legend(labels, colors, title, warning, fonts, columns, rows),
        _words(warning, fonts),
        tuple(_words(side, fonts) for side in sides),
    )


def _legend(
    labels: Sequence[str], colors: Sequence[Rgb], title: str, warning: str, fonts: Fonts, width: int, highest: int
) -> Rgb8:
    """Names beside their colours, in columns as they have room; not higher than the picture above it."""
    room = max(8, width // LETTER)  # letters in a line
    widest = min(room, max(map(width_of, labels), default=0) + 5)
    columns = max(1, min(len(labels), room // widest))
    most = max(1, highest // LINE - 3) * columns
    shown = list(zip(labels, colors, strict=True))
    if len(shown) > most:
        shown = [*shown[: most - 1], (f"... and {len(labels) - most + 1} more", WHITE)]
    words: list[tuple[float, float, str, Rgb]] = [
        (6, line, text, WHITE) for line, text in enumerate(textwrap.wrap(title, room))
    ]
    first, lines = len(words), -(-len(shown) // columns)
    for number, (label, color) in enumerate(shown):
        column, line = divmod(number, lines)
        left = 6 + column * width / columns
        words.append((left, first + line, "■", color))
        words.append((left + 2 * LETTER, first + line, _fitting(label, widest - 4), WHITE))
    last = [text for said in (NO_GLYPH if fonts.undrawable else "", warning) for text in textwrap.wrap(said, room)]
    words += [(6, first + lines + line, text, YELLOW) for line, text in enumerate(last)]
    return _drawn(words, fonts, width, (first + lines + len(last)) * LINE + 8)


def _fitting(text: str, letters: int) -> str:
    if width_of(text) <= letters:
        return text
    while text and width_of(text) > letters - 3:
        text = text[:-1]
    return text + "..."


def _words(text: str, fonts: Fonts) -> Rgb8:
    """One line of yellow words on black, cut close."""
    drawn = _drawn([(4, 0, text, YELLOW)], fonts, LETTER * 2 * max(1, len(text)) + 8, LINE + 4)
    last = int(np.flatnonzero(drawn.any(axis=(0, 2)))[-1]) if drawn.any() else 0
    return drawn[:, : last + 5]


def _drawn(words: Sequence[tuple[float, float, str, Rgb]], fonts: Fonts, width: int, height: int) -> Rgb8:
    """(x in pixels, line, text, colour) on black."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=((width + 0.5) / _DPI, (height + 0.5) / _DPI), facecolor="black", dpi=_DPI)
    FigureCanvasAgg(figure)
    for x, line, text, color in words:
        figure.text(
            x / width, 1 - (4 + line * LINE) / height, fonts.drawable(text), color=np.array(color) / 255,
            fontsize=8.5, family=list(fonts.families), va="top", parse_math=False,
        )  # fmt: skip
    return pixels_of(figure)


def _stamp(page: Rgb8, stamp: Rgb8, top: int, left: int) -> None:
    part = page[top : top + stamp.shape[0], left : left + stamp.shape[1]]
    part[:] = stamp[: part.shape[0], : part.shape[1]]


def letters_of(direction: Vector) -> str:
    """Return where a direction in the patient points, as Patient Orientation has it (PS3.3 C.7.6.1.1.1): "L", "PF" …"""
    named = [("RL", "AP", "FH")[axis][value > 0] for axis, value in enumerate(direction)]
    by_share = sorted(range(3), key=lambda axis: -abs(direction[axis]))
    return "".join(named[axis] for axis in by_share if abs(direction[axis]) > 1e-3)

"""A receipt as Secondary Capture: its words on one page."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from pydicom.dataset import Dataset

from voxtell_dicom.encode.capture.capture import capture, footer, pixels_of
from voxtell_dicom.encode.capture.fonts import BOX, fonts_for
from voxtell_dicom.encode.receipt.statement import ReceiptContent
from voxtell_dicom.model import Plan

KIND = "receipt"
LINES, WIDTH = 120, 100  # on the picture
LT = 10000  # characters of Image Comments: VR LT allows 10240, line ends included
DERIVATION = "Words: what an AI segmentation searched, found and did not find"


def receipt_page(plan: Plan, content: ReceiptContent) -> Dataset:
    """The words as a page, and in Image Comments, for what does not read pixels."""
    lines = content.statement.lines
    picture = pixels_of(receipt_figure(lines, footer(content.statement.maker)))
    ds = capture(content.identity(plan, KIND), picture, content.instances)
    ds.DerivationDescription = DERIVATION
    ds.ImageComments = "\n".join(lines)[:LT].replace("\n", "\r\n")
    return ds


def receipt_figure(lines: Sequence[str], footer: str) -> Any:
    """A matplotlib figure of words: one line each, longer ones folded."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [part for line in lines for part in _folded(line)]
    if len(shown) > LINES:
        shown = [*shown[: LINES - 1], ("white", f"... and {len(shown) - LINES + 1} more lines: see Image Comments")]
    fonts = fonts_for(lines, "mono")
    family = list(fonts.families)
    figure = Figure(figsize=(10, 2.2 + 0.24 * len(shown)), facecolor="black", dpi=90)
    FigureCanvasAgg(figure)
    height = figure.get_figheight()
    figure.text(0.5, 1 - 0.5 / height, "AI RESEARCH: what was searched", color="white", ha="center", fontsize=15)
    for number, (color, line) in enumerate(shown):
        y = 1 - (1.1 + 0.24 * number) / height
        figure.text(0.06, y, fonts.drawable(line), color=color, fontsize=10, family=family, parse_math=False)
    if fonts.undrawable:
        footer += f"   {BOX}: no font here has this letter; Image Comments has the words"
    figure.text(0.5, 0.3 / height, footer, color="yellow", ha="center", fontsize=11)
    return figure


def _folded(line: str) -> Iterator[tuple[str, str]]:
    """(colour, text) of what one line becomes on the picture."""
    color = "orange" if line.startswith("!") else "white"
    indent = " " * 12 if line[:1].isalpha() else "    "
    parts = textwrap.wrap(line, WIDTH, subsequent_indent=indent, drop_whitespace=False, replace_whitespace=False)
    yield from ((color, part) for part in parts or [""])

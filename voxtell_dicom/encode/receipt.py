"""The receipt: a page by which a radiologist can tell "nothing found" from "never ran"."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from voxtell_dicom.encode import common, provenance
from voxtell_dicom.encode.capture import capture, footer, instances_of, pixels_of
from voxtell_dicom.encode.fonts import BOX, fonts_for
from voxtell_dicom.encode.sources import read_sources
from voxtell_dicom.model import Found, Plan, Result, Volume

LINES, WIDTH = 120, 100  # on the picture
LT = 10000  # characters of Image Comments: VR LT allows 10240, line ends included
DERIVATION = "Words: what an AI segmentation searched, found and did not find"


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
    header = read_sources(volume).newest
    lines = receipt_lines(plan, maker, volume, found, header)
    description = common.describe(plan, maker, volume, found)
    instances = instances_of(volume)
    ds = receipt_page(plan, maker, volume, header, description, lines, instances, series_number_base)
    return common.publish(ds, "receipt", path, found, volume)


def receipt_page(
    plan: Plan,
    maker: provenance.Maker,
    source: common.Source,
    header: Dataset,
    description: str,
    lines: Sequence[str],
    instances: Sequence[tuple[str, str]],
    series_number_base: int,
) -> Dataset:
    """The words of `lines` as a page, and in Image Comments, for what does not read pixels."""
    ds = capture(
        plan,
        maker,
        source,
        header,
        "receipt",
        description,
        pixels_of(receipt_figure(lines, footer(maker))),
        instances,
        series_number_base=series_number_base,
        texts=lines,
    )
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
    if fonts.lacking:
        footer += f"   {BOX}: no font here has this letter; Image Comments has the words"
    figure.text(0.5, 0.3 / height, footer, color="yellow", ha="center", fontsize=11)
    return figure


def _folded(line: str) -> Iterator[tuple[str, str]]:
    """(colour, text) of what one line becomes on the picture."""
    color = "orange" if line.startswith("!") else "white"
    indent = " " * 12 if line[:1].isalpha() else "    "
    parts = textwrap.wrap(line, WIDTH, subsequent_indent=indent, drop_whitespace=False, replace_whitespace=False)
    yield from ((color, part) for part in parts or [""])


def receipt_lines(
    plan: Plan, maker: provenance.Maker, volume: Volume, found: Sequence[Found], header: Dataset
) -> list[str]:
    """The words of the receipt, without patient data. header: of a source instance."""
    spacing = " and ".join(dict.fromkeys(f"{run.grid.spacing_mm[0]:.2f}" for run in volume.runs))
    count = sum(1 for item in found if item.mask.voxels)
    lines = [
        f"Rule        {plan.rule}",
        *series_lines(volume, header),
        f"Images      {len(volume.frames)} {volume.modality}, {spacing} mm apart"
        + (f", {volume.name}" if volume.name else ""),
        f"Found       {count} of {len(found)}",
        "",
    ]
    width = max((len(item.prompt.label) for item in found), default=0)
    for item in found:
        outcome = f"LEFT OUT, {item.left_out}" if item.left_out else "NOT FOUND"
        if item.mask.voxels:
            outcome = f"found, {volume.millilitres(item.mask):.1f} mL"
        if item.mask.voxels and item.mean_probability is not None:
            outcome += f", mean probability {item.mean_probability:.2f}"
        lines.append(f"  {item.prompt.label:<{width}}  {outcome}")
    return [*lines, "", *(f"! {problem}" for problem in common.problems_of(plan, volume)), *maker_lines(maker)]


def series_lines(source: common.Source, header: Dataset) -> list[str]:
    """Which series a page is about, as a radiologist and as a program names it."""
    names = [str(header.get(keyword) or "").strip() for keyword in ("SeriesNumber", "SeriesDescription")]
    said = ", ".join(" ".join(name.split()) for name in names if name)
    return [*([f"Series      {said}"] if said else []), f"Series UID  {source.series_uid}"]


def maker_lines(maker: provenance.Maker) -> list[str]:
    """Who made a page, and when."""
    now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
    return [f"Program     {maker.name} {maker.version}", f"Engine      {maker.identity}", f"Time        {now}"]

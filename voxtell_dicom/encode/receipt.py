"""The receipt: a page by which a radiologist can tell "nothing found" from "never ran"."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from voxtell_dicom.encode import provenance
from voxtell_dicom.model import Found, Plan, Volume

LINES = 40


def receipt_figure(lines: Sequence[str], footer: str) -> Any:
    """A matplotlib figure of the words of `receipt_lines`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = lines if len(lines) <= LINES else [*lines[: LINES - 1], f"... and {len(lines) - LINES + 1} more lines"]
    figure = Figure(figsize=(10, 2.2 + 0.24 * len(shown)), facecolor="black", dpi=90)
    FigureCanvasAgg(figure)
    height = figure.get_figheight()
    figure.text(0.5, 1 - 0.5 / height, "AI RESEARCH: what was searched", color="white", ha="center", fontsize=15)
    for number, line in enumerate(shown):
        color = "orange" if line.startswith("!") else "white"
        y = 1 - (1.1 + 0.24 * number) / height
        figure.text(0.06, y, line[:110], color=color, fontsize=10, family="monospace", parse_math=False)
    figure.text(0.5, 0.3 / height, footer, color="yellow", ha="center", fontsize=11)
    return figure


def receipt_lines(plan: Plan, maker: provenance.Maker, volume: Volume, found: Sequence[Found]) -> list[str]:
    """The words of the receipt, without patient data."""
    spacing = " and ".join(dict.fromkeys(f"{run.grid.spacing_mm[0]:.2f}" for run in volume.runs))
    count = sum(1 for item in found if item.mask.voxels)
    lines = [
        f"Rule        {plan.rule}",
        f"Series      {volume.series_uid}",
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
    lines.append("")
    problems = list(volume.warnings)
    if "incomplete" in plan.options:
        problems.append(f"the series is incomplete: {plan.options['incomplete']}")
    problems += [str(warning) for warning in plan.options.get("warnings", ())]
    lines += [f"! {problem}" for problem in problems]
    now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
    lines += [f"Program     {maker.name} {maker.version}", f"Engine      {maker.identity}", f"Time        {now}"]
    return lines

"""A picture of a segmentation on its source, as a PNG file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from voxtell_dicom.encode.capture.drawing import figure_of, representative
from voxtell_dicom.encode.capture.scene import read_scene


def picture(seg_path: Path, source: Path | Iterable[Path] | None, out_png: Path) -> Path:
    """Draw a BINARY SEG: a row of three planes through the largest segment, and through the two smallest.

    source: a folder (searched for the instances that the SEG refers to) or the files themselves; None looks in the
    SEG's own folder. Returns `out_png`. Raises EncodingError where the SEG or the source cannot be shown.
    """
    scene = read_scene(seg_path, source if source is not None else seg_path.parent)
    out_png.parent.mkdir(parents=True, exist_ok=True)
    figure_of(scene, representative(scene)).savefig(out_png, facecolor="black")
    return out_png

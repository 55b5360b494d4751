"""What the geometry says of a volume: the facts that rules ask for under ``volume:``, in numbers."""

from __future__ import annotations

import math
from typing import Any

from voxtell_dicom.model import Vector, Volume

_PLANES = ("sagittal", "coronal", "axial")  # by the patient axis (x, y, z) that the slice normal follows
_OBLIQUE = math.cos(math.radians(30))


def volume_facts(volume: Volume) -> dict[str, Any]:
    """The facts of `keywords.VOLUME_FACTS` for one volume. Lengths in mm."""
    frames, rows, columns = volume.grid.shape
    between_frames, between_rows, between_columns = volume.grid.spacing_mm
    return {
        "name": volume.name,
        "modality": volume.modality,
        "plane": plane(volume.grid.row_cosine, volume.grid.column_cosine),
        "slices": frames,
        "rows": rows,
        "columns": columns,
        "spacing_mm": round(between_frames, 4),
        "pixel_mm": round(max(between_rows, between_columns), 4),
        "coverage_mm": round(frames * between_frames, 3),
    }


def plane(row_cosine: Vector, column_cosine: Vector) -> str:
    """axial, coronal or sagittal where the slice normal is within 30° of that axis of the patient; else oblique."""
    (a, b, c), (x, y, z) = row_cosine, column_cosine
    normal = (b * z - c * y, c * x - a * z, a * y - b * x)
    length = math.hypot(*normal)
    leading = max(range(3), key=lambda axis: abs(normal[axis]))
    return _PLANES[leading] if length and abs(normal[leading]) / length >= _OBLIQUE else "oblique"

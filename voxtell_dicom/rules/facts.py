"""Facts of a volume, which rules ask for under ``volume:``."""

from __future__ import annotations

import math
import re
from typing import Any

from pydicom.dataset import Dataset

from voxtell_dicom.dicom.attributes import get
from voxtell_dicom.dicom.functional_groups import frame_value
from voxtell_dicom.model import Vector, Volume

_PLANES = ("sagittal", "coronal", "axial")  # by the patient axis (x, y, z) that the slice normal follows
_KERNELS = (
    (r"(B[A-Z]?|H[A-Z]?|I|Q[A-Z]?|T|U|V|D)[0-4]\d", "soft"),  # Siemens: the number is the sharpness
    (r"(B[A-Z]?|H[A-Z]?|I|Q[A-Z]?|T|U|V|D)[5-9]\d", "sharp"),
    (r"(SOFT|STANDARD|STND|SMOOTH|DETAIL|BODY|BRAIN)", "soft"),  # GE and plain words
    (r"(LUNG|BONE|EDGE|SHARP|ULTRA|CHST)", "sharp"),
    (r"FC(0\d|1\d|2[0-9]|4\d)", "soft"),  # Canon
    (r"FC(3\d|5\d|8\d)", "sharp"),
    (r"(A|B|C|UA|UB|UC)$", "soft"),  # Philips
    (r"(D|E|L|F|YA|YB|YC|YD|EA|EB|EC)$", "sharp"),
)
_TOLD_APART_BY = {"echo_ms": "echo_time", "b_value": "b_value", "temporal": "temporal"}  # fact → Volume.keys
_OBLIQUE = math.cos(math.radians(30))


def volume_facts(volume: Volume, header: Dataset | None = None) -> dict[str, Any]:
    """Return the facts of `keywords.VOLUME_FACTS` for one volume, from its geometry and the header of one instance.

    Lengths in mm. Without a header, contrast and kernel are left out. Kind, echo, b-value and temporal position
    are known where they tell the volume from others of its series, else None.
    """
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
        "kind": volume.keys.get("kind") or None,
        **{name: _number(volume.keys.get(key)) for name, key in _TOLD_APART_BY.items()},
        **({} if header is None else {"contrast": contrast(header), "kernel": kernel_family(header)}),
    }


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def contrast(header: Dataset) -> str:
    """``given`` where a contrast agent is named (PS3.3 C.7.6.4, C.7.6.4b), else ``none``."""
    agent = str(get(header, "ContrastBolusAgent") or "").strip()
    named = agent and agent.casefold() not in ("no", "none", "n")
    return "given" if named or get(header, "ContrastBolusAgentSequence") else "none"


def kernel_family(header: Dataset) -> str:
    """``soft``, ``sharp`` (lung, bone, edge) or ``unknown``, from the Convolution Kernel (0018,1210) of a CT image.

    The vendors' names: Siemens Br40d, B70f; GE SOFT, STANDARD, BONE; Philips A…E, YA; Canon FC18, FC52.
    """
    names = frame_value(header, 1, "ConvolutionKernel") or []
    name = str(names if isinstance(names, str) else next(iter(names), "")).strip().upper()
    return next((family for pattern, family in _KERNELS if re.match(pattern, name)), "unknown")


def plane(row_cosine: Vector, column_cosine: Vector) -> str:
    """axial, coronal or sagittal where the slice normal is within 30° of that axis of the patient; else oblique."""
    (a, b, c), (x, y, z) = row_cosine, column_cosine
    normal = (b * z - c * y, c * x - a * z, a * y - b * x)
    length = math.hypot(*normal)
    leading = max(range(3), key=lambda axis: abs(normal[axis]))
    return _PLANES[leading] if length and abs(normal[leading]) / length >= _OBLIQUE else "oblique"

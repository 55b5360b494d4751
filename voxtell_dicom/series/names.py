"""How a volume is called: by what distinguishes it within its series."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

OBLIQUE = math.cos(math.radians(30))
WORDS = {
    "plane": "{}",
    "matrix": "{}",
    "pixel_spacing": "{} mm pixels",
    "kind": "{}",
    "echo_time": "echo {} ms",
    "b_value": "b {}",
    "gradient": "gradient {}",
    "inversion_time": "TI {} ms",
    "temporal": "time {}",
    "label": "{}",
    "cardiac_phase": "phase {}",
    "kernel": "kernel {}",
    "stack": "stack {}",
    "reconstruction": "reconstruction {}",
    "flip_angle": "flip {}",
    "thickness": "{} mm thick",
    "contrast": "contrast {}",
    "reference": "frame of reference {}",
    "image_type": "{}",
    "frame_time": "frame time {} ms",
    "echo_number": "echo no. {}",
    "energy": "{} kV",
    "acquisition": "acquisition {}",
    "percent": "phase {} %",
    "coil": "coil {}",
    "scan_options": "{}",
    "sequence_name": "{}",
    "description": "{}",
    "dimension": "dimension {}",
    "time": "time no. {}",
    "order": "no. {}",
    "offset": "offset {}",
    "run": "run {}",
    "spacing": "{} mm apart",
}


def describe(keys: Mapping[str, str]) -> str:
    """The name of a volume: "" where nothing distinguishes it, else such as "axial, echo 2.4 ms"."""
    return ", ".join(WORDS[name].format(value if value else "none") for name, value in keys.items())


def plane_of(normal: npt.ArrayLike) -> str:
    """axial, coronal or sagittal where the normal is within 30° of that axis of the patient; else oblique."""
    parts = np.abs(np.asarray(normal, float))
    leading = int(np.argmax(parts))
    return ("sagittal", "coronal", "axial")[leading] if parts[leading] >= OBLIQUE else "oblique"

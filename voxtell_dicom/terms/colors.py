"""Recommended display colours: by structure whatever its words, right darker than left, distinct in an object."""

from __future__ import annotations

import colorsys
import hashlib
import math
from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt

from voxtell_dicom.model import Prompt
from voxtell_dicom.terms.terminology import SIDES, Term, term_for

Rgb = tuple[int, int, int]
Floats = npt.NDArray[np.float64]
KNOWN: dict[str, Rgb] = {  # by the meaning of the type
    "liver": (221, 130, 101),
    "spleen": (157, 108, 162),
    "kidney": (214, 104, 40),
    "lung": (120, 190, 210),
    "aorta": (224, 60, 50),
    "bladder": (222, 200, 80),
    "spine": (226, 202, 150),
    "heart": (206, 80, 90),
    "brain": (250, 220, 180),
    "pancreas": (230, 170, 110),
    "stomach": (216, 132, 165),
    "gallbladder": (110, 170, 90),
    "lesion": (110, 240, 80),
    "neoplasm": (110, 240, 80),
    "entire body": (200, 170, 150),
}
LEAST_DISTANCE = 8.0  # in DIN99, where 1 is about what the eye can tell apart: a hundred colours of a screen fit so
RIGHT_SHADE = 0.8
LEAST_LIGHTNESS = 50.0  # CIELab: a contrast of 4.5 : 1 with black, as WCAG 2 requires of text


def colors_of(prompts: Sequence[Prompt]) -> list[Rgb]:
    """Return one colour per prompt: the rule's own where it gives one, else by structure, distinct from all others."""
    chosen: dict[int, Rgb] = {
        index: _from_hex(prompt.color) for index, prompt in enumerate(prompts) if prompt.color is not None
    }
    grid, places = _grid()
    room = np.full(len(grid), np.inf)  # how far each colour of the grid is from all that are taken
    for rgb in chosen.values():
        room = np.minimum(room, _distances(places, rgb))
    for index, prompt in enumerate(prompts):
        if index not in chosen:
            rgb = _wanted(term_for(prompt))
            if _nearest(rgb, list(chosen.values())) < LEAST_DISTANCE:
                free = room >= LEAST_DISTANCE
                away = _distances(places, rgb)
                rgb = grid[int(np.argmin(np.where(free, away, np.inf)) if free.any() else np.argmax(room))]
            chosen[index] = rgb
            room = np.minimum(room, _distances(places, rgb))
    return [chosen[index] for index in range(len(prompts))]


def cielab(rgb: Rgb) -> tuple[float, float, float]:
    """Convert sRGB (0-255) to CIELab under D65 (IEC 61966-2-1)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (value / 255 for value in rgb)]
    red, green, blue = linear
    x = (0.4124564 * red + 0.3575761 * green + 0.1804375 * blue) / 0.95047
    y = 0.2126729 * red + 0.7151522 * green + 0.0721750 * blue
    z = (0.0193339 * red + 0.1191920 * green + 0.9503041 * blue) / 1.08883
    fx, fy, fz = (v ** (1 / 3) if v > 216 / 24389 else (24389 / 27 * v + 16) / 116 for v in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def dicom_cielab(rgb: Rgb) -> list[int]:
    """Recommended Display CIELab Value (0062,000D): three unsigned 16-bit integers (PS3.3 C.10.7.1.1)."""
    lightness, a, b = cielab(rgb)
    return [round(lightness * 65535 / 100), round((a + 128) * 65535 / 255), round((b + 128) * 65535 / 255)]


def rgb_of(value: Sequence[int]) -> Rgb:
    """Return the sRGB colour of a Recommended Display CIELab Value, clipped to what a screen can show."""
    lightness, a, b = value[0] * 100 / 65535, value[1] * 255 / 65535 - 128, value[2] * 255 / 65535 - 128
    fy = (lightness + 16) / 116
    x, y, z = (f**3 if f**3 > 216 / 24389 else (116 * f - 16) * 27 / 24389 for f in (fy + a / 500, fy, fy - b / 200))
    x, z = x * 0.95047, z * 1.08883
    linear = (
        3.2404542 * x - 1.5371385 * y - 0.4985314 * z,
        -0.9692660 * x + 1.8760108 * y + 0.0415560 * z,
        0.0556434 * x - 0.2040259 * y + 1.0572252 * z,
    )
    red, green, blue = (12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055 for c in linear)
    return _byte(red), _byte(green), _byte(blue)


def _byte(value: float) -> int:
    return max(0, min(255, round(value * 255)))


def _from_hex(color: str) -> Rgb:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _wanted(term: Term) -> Rgb:
    """By the type, its side and its region: the same for "urinary bladder" and "bladder", in every object."""
    grid, places = _grid()
    region = term.region.value if term.region else ""
    digest = hashlib.sha256(f"{term.type.scheme} {term.type.value} {region}".encode()).digest()
    color = KNOWN.get(term.type.meaning.casefold(), grid[int.from_bytes(digest[:4], "big") % len(grid)])
    if term.laterality != SIDES["right"]:
        return color
    red, green, blue = (_byte(part / 255 * RIGHT_SHADE) for part in color)
    told_apart = _distances(places, color) >= LEAST_DISTANCE
    return grid[int(np.argmin(np.where(told_apart, _distances(places, (red, green, blue)), np.inf)))]


def _hsv(hue: float, saturation: float, value: float) -> Rgb:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return _byte(red), _byte(green), _byte(blue)


@cache
def _grid() -> tuple[list[Rgb], Floats]:
    """Colours that show on black and on white, and their places in DIN99 (colour, 3)."""
    shades = [(saturation, value) for value in (1.0, 0.85, 0.7, 0.55, 0.45) for saturation in (1.0, 0.75, 0.5, 0.3)]
    colors = sorted({_hsv(hue / 48, *shade) for hue in range(48) for shade in shades})
    colors = [color for color in colors if LEAST_LIGHTNESS <= cielab(color)[0] <= 95]
    return colors, np.array([din99(color) for color in colors])


@lru_cache(maxsize=1 << 14)  # each new colour is held against all before it
def din99(rgb: Rgb) -> tuple[float, float, float]:
    """Convert sRGB (0-255) to DIN99 (DIN 6176), where equal distances look equal: CIELab stretches saturated ones."""
    lightness, a, b = cielab(rgb)
    turn = math.radians(16)
    red, yellow = a * math.cos(turn) + b * math.sin(turn), 0.7 * (b * math.cos(turn) - a * math.sin(turn))
    chroma = math.hypot(red, yellow)
    shrink = math.log(1 + 0.045 * chroma) / (0.045 * chroma) if chroma else 1.0
    return 105.51 * math.log(1 + 0.0158 * lightness), red * shrink, yellow * shrink


def _distances(places: Floats, rgb: Rgb) -> Floats:
    distances: Floats = np.linalg.norm(places - np.array(din99(rgb)), axis=1)
    return distances


def _nearest(rgb: Rgb, taken: Sequence[Rgb]) -> float:
    return min((math.dist(din99(rgb), din99(other)) for other in taken), default=math.inf)

"""Recommended display colours: fixed for what is well known, drawn from the words else, distinct in an object."""

from __future__ import annotations

import colorsys
import hashlib
import math
from collections.abc import Sequence
from functools import lru_cache

from voxtell_dicom.model import Prompt

Rgb = tuple[int, int, int]
KNOWN: dict[str, Rgb] = {
    "liver": (221, 130, 101),
    "spleen": (157, 108, 162),
    "kidney": (185, 102, 83),
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
    "tumor": (110, 240, 80),
    "tumour": (110, 240, 80),
    "body": (200, 170, 150),
}
LEAST_DISTANCE = 20.0  # CIE76, about ten times what the eye can tell apart


def colors_of(prompts: Sequence[Prompt]) -> list[Rgb]:
    """One colour per prompt: the rule's own where it gives one, else by structure, moved until it differs from all."""
    chosen: dict[int, Rgb] = {
        index: _from_hex(prompt.color) for index, prompt in enumerate(prompts) if prompt.color is not None
    }
    for index, prompt in enumerate(prompts):
        if index not in chosen:
            chosen[index] = _distinct(_wanted(prompt.text), list(chosen.values()))
    return [chosen[index] for index in range(len(prompts))]


@lru_cache(maxsize=1 << 14)  # each new colour is held against all before it
def cielab(rgb: Rgb) -> tuple[float, float, float]:
    """sRGB (0-255) to CIELab under D65 (IEC 61966-2-1)."""
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
    """The sRGB colour of a Recommended Display CIELab Value, clipped to what a screen can show."""
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


def _wanted(text: str) -> Rgb:
    words = text.casefold().split()
    for word in reversed(words):
        for candidate in (word, word.rstrip("s")):
            if candidate in KNOWN:
                return KNOWN[candidate]
    digest = hashlib.sha256(text.casefold().encode()).digest()
    return _hsv(digest[0] / 256, 0.55 + digest[1] / 256 * 0.35, 0.75 + digest[2] / 256 * 0.25)


def _hsv(hue: float, saturation: float, value: float) -> Rgb:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return _byte(red), _byte(green), _byte(blue)


def _distinct(wanted: Rgb, taken: Sequence[Rgb]) -> Rgb:
    """Walk round the hue circle by the golden angle until far enough from all; the farthest if none is."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(c / 255 for c in wanted))
    candidates = [wanted]
    for step in range(1, 60):
        candidates.append(_hsv(hue + step * 0.381966, max(0.35, saturation) - 0.2 * (step // 20), value))
    for candidate in candidates:
        if _nearest(candidate, taken) >= LEAST_DISTANCE:
            return candidate
    return max(candidates, key=lambda candidate: _nearest(candidate, taken))


def _nearest(color: Rgb, taken: Sequence[Rgb]) -> float:
    lab = cielab(color)
    return min((math.dist(lab, cielab(other)) for other in taken), default=1e9)

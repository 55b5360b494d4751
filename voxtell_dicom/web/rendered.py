"""A frame as a picture for people: JPEG or PNG, with the window of the header or of the request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Final

import numpy as np
import numpy.typing as npt
import PIL.Image
from pydicom.pixels.processing import apply_color_lut

from voxtell_dicom.dicom.attributes import get, number
from voxtell_dicom.dicom.functional_groups import macro
from voxtell_dicom.dicom.rescale import rescale_of
from voxtell_dicom.errors import Refusal
from voxtell_dicom.web.pixels import Image, NoPixels

FORMATS: Final = {"image/jpeg": "JPEG", "image/png": "PNG"}
_LARGEST = 8192  # pixels along a side


@dataclass(frozen=True)
class Look:
    """Appearance of a picture. window: centre and width; None: the header's. viewport: width and height of the box."""

    window: tuple[float, float] | None = None
    viewport: tuple[int, int] | None = None
    quality: int = 90


def look_of(query: Mapping[str, str]) -> Look:
    """Return what a query says (PS3.18 section 8.3.5.1). Raises ValueError."""
    window = viewport = None
    if "window" in query:
        centre, width, *function = query["window"].split(",")
        if function and function[0].lower() not in ("linear", ""):
            raise ValueError("of window functions only linear is supported")
        window = float(centre), float(width)
        if not (np.isfinite(window).all() and window[1] >= 1):
            raise ValueError("the window must be a centre and a width of at least 1")
    if "viewport" in query:
        across, down, *rest = query["viewport"].split(",")
        viewport = int(across), int(down)
        if rest or not all(0 < side <= _LARGEST for side in viewport):
            raise ValueError(f"the viewport must be a width and a height of at most {_LARGEST}")
    quality = int(query.get("quality", "90"))
    if not 1 <= quality <= 100:
        raise ValueError("the quality must lie between 1 and 100")
    return Look(window, viewport, quality)


def rendered(image: Image, frame: int, kind: str, look: Look) -> bytes:
    """Return a picture of a frame (from 1). Raises NoPixels where it cannot be decoded."""
    values = image.decoded_frame(frame)
    if get(image.dataset, "PhotometricInterpretation") == "PALETTE COLOR":
        try:
            values = apply_color_lut(values, image.dataset)
        except Exception as error:  # whatever a broken table makes pydicom raise
            raise NoPixels(f"the palette cannot be applied ({type(error).__name__})") from error
    if values.ndim == 3:
        picture = PIL.Image.fromarray(_bytes(values))
    else:
        picture = PIL.Image.fromarray(_grey(image, frame, values, look))
    if look.viewport:
        picture.thumbnail(look.viewport)
    with BytesIO() as file:
        picture.save(file, FORMATS[kind], **({"quality": look.quality} if kind == "image/jpeg" else {}))
        return file.getvalue()


def _bytes(values: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """Return samples of a colour image in eight bits."""
    shift = max(0, 8 * values.dtype.itemsize - 8)
    return (values.astype(np.uint64) >> np.uint64(shift)).astype(np.uint8)


def _grey(image: Image, frame: int, values: npt.NDArray[np.generic], look: Look) -> npt.NDArray[np.uint8]:
    try:
        real = rescale_of(image.dataset, frame).real(values)
    except Refusal as error:
        raise NoPixels(str(error)) from error
    centre, width = look.window or _window(image, frame) or _range(real)
    # PS3.3 C.11.2.1.2.1
    low, span = centre - 0.5 - (width - 1) / 2, max(width - 1, 1e-6)
    shown = np.clip((real - low) / span, 0, 1) * 255
    grey: npt.NDArray[np.uint8] = np.rint(shown).astype(np.uint8)
    if get(image.dataset, "PhotometricInterpretation") == "MONOCHROME1":
        np.subtract(255, grey, out=grey)
    return grey


def _window(image: Image, frame: int) -> tuple[float, float] | None:
    """Return the first window of the header: of the frame, else of all."""
    for item in (*macro(image.dataset, frame, "FrameVOILUTSequence"), image.dataset):
        centre, width = (number(get(item, keyword)) for keyword in ("WindowCenter", "WindowWidth"))
        if centre is not None and width is not None and width >= 1:
            return centre, width
    return None


def _range(real: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Return the window that shows all values."""
    low, high = float(real.min()), float(real.max())
    return (low + high) / 2 + 0.5, max(high - low + 1, 1.0)

"""Stored values to real ones (PS3.3 C.11.1 Modality LUT, C.7.6.16.2.9 Pixel Value Transformation), for all readers.

What the model sees, reports measure and pictures show are the same values. Real World Value Maps (C.7.6.16.2.11) are
not applied: rules and models expect the modality's own units, HU for CT.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_modality_lut

from voxtell_dicom.dicom.attributes import get, number, text
from voxtell_dicom.dicom.functional_groups import macro
from voxtell_dicom.errors import Refusal

Stored = npt.NDArray[Any]
EXACT = 2.0**24  # integers below it are exact in float32
HUGE = 1e30  # a rescale beyond it is none
SLOPE, INTERCEPT = "Rescale Slope (0028,1053)", "Rescale Intercept (0028,1052)"


@dataclass(frozen=True)
class Rescale:
    """Stored to real values of one frame: a line, or a table (then `table` is the dataset that holds it)."""

    slope: float = 1.0
    intercept: float = 0.0
    table: Dataset | None = None
    stated: bool = field(default=True, compare=False)

    def into(self, stored: Stored, target: npt.NDArray[np.float32]) -> None:
        """Write the real values of a frame into a float32 view of the same shape, as float64 arithmetic rounds."""
        if self.table is not None:
            try:
                target[...] = apply_modality_lut(stored, self.table)
            except Exception as error:  # whatever a broken table makes pydicom raise
                words = f"cannot be applied ({type(error).__name__}: {error})"
                _refuse(self.table, f"Modality LUT Sequence (0028,3000) {words}")
            return
        reach = float(np.iinfo(stored.dtype).max) * abs(self.slope) + abs(self.intercept)
        if self.slope.is_integer() and self.intercept.is_integer() and reach < EXACT:
            np.multiply(stored, np.float32(self.slope), out=target, casting="unsafe", dtype=np.float32)
            if self.intercept:
                np.add(target, np.float32(self.intercept), out=target)
            return
        real = stored.astype(np.float64)
        real *= self.slope
        real += self.intercept
        target[...] = real

    def real(self, stored: Stored) -> npt.NDArray[np.float32]:
        """Return the real values of a frame, see `into`."""
        target = np.empty(stored.shape, np.float32)
        self.into(stored, target)
        return target


def rescale_of(ds: Dataset, frame: int) -> Rescale:
    """Return the rescale of a frame (from 1): Pixel Value Transformation of its own, else shared; top level; none.

    Raises Refusal (``rescale``) naming the tag where it is no rescale: one number of two, a slope of 0, a word.
    """
    for item in (*macro(ds, frame, "PixelValueTransformationSequence"), ds):
        slope = _stated(ds, item, "RescaleSlope", SLOPE)
        intercept = _stated(ds, item, "RescaleIntercept", INTERCEPT)
        if slope is None and intercept is None:
            continue
        if slope is None or intercept is None:
            lacks, has = (SLOPE, INTERCEPT) if slope is None else (INTERCEPT, SLOPE)
            _refuse(ds, f"{lacks} is missing, where {has} is {intercept if slope is None else slope:g}")
        if slope == 0:
            _refuse(ds, f"{SLOPE} is 0")
        if get(ds, "ModalityLUTSequence"):
            _refuse(ds, f"{SLOPE} and a Modality LUT Sequence (0028,3000): one only can hold (PS3.3 C.11.1)")
        return Rescale(slope, intercept)
    if get(ds, "ModalityLUTSequence"):
        return Rescale(table=ds)
    return Rescale(stated=False)


def _stated(ds: Dataset, item: Dataset, keyword: str, words: str) -> float | None:
    """Return a number of the rescale; None where it is absent or empty. Raises Refusal for what is not one number."""
    value = get(item, keyword)
    if value is None:
        raw = item.get_item(keyword) if keyword in item else None
        if raw is None or not raw.value:
            return None
        value = raw.value
    shown = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    found = number(value)
    if found is None or "\\" in shown or isinstance(value, MultiValue) or not abs(found) < HUGE:
        _refuse(ds, f"{words} is {shown}, a number is needed")
    return found


def _refuse(ds: Dataset, words: str) -> NoReturn:
    uid = text(ds, "SOPInstanceUID")
    raise Refusal("rescale", f"{uid}: {words}", uid)

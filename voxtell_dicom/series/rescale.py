"""What turns stored values into real ones (PS3.3 C.11.1 Modality LUT, C.7.6.16.2.9 Pixel Value Transformation).

Real World Value Maps (C.7.6.16.2.11) are not applied: rules and models expect the modality's own units, HU for CT.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut

from voxtell_dicom.errors import Refusal
from voxtell_dicom.series.keys import number

Stored = npt.NDArray[Any]
EXACT = 2.0**24  # integers below it are exact in float32


@dataclass(frozen=True)
class Rescale:
    """Stored value to real value of one frame: a line, or a table (then `table` is the dataset that holds it)."""

    slope: float = 1.0
    intercept: float = 0.0
    table: Dataset | None = None

    def into(self, stored: Stored, target: npt.NDArray[np.float32]) -> None:
        """Write the real values of a frame into a float32 view of the same shape, as float64 arithmetic rounds."""
        if self.table is not None:
            target[...] = apply_modality_lut(stored, self.table)
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


def rescale_of(ds: Dataset, frame: int) -> Rescale:
    """The rescale of a frame (from 1): per-frame, else shared Pixel Value Transformation, else top level, else none."""
    items: list[Dataset] = []
    for groups, index in (("PerFrameFunctionalGroupsSequence", frame - 1), ("SharedFunctionalGroupsSequence", 0)):
        sequence = ds.get(groups)
        if sequence and index < len(sequence):
            items += list(sequence[index].get("PixelValueTransformationSequence") or [])[:1]
    for item in (*items, ds):
        if "RescaleSlope" in item or "RescaleIntercept" in item:
            slope, intercept = number(item.get("RescaleSlope")), number(item.get("RescaleIntercept"))
            if slope == 0 or (slope is not None and not np.isfinite(slope)):
                raise Refusal(
                    "rescale", f"{ds.SOPInstanceUID}: Rescale Slope (0028,1053) is {slope}", str(ds.SOPInstanceUID)
                )
            return Rescale(1.0 if slope is None else slope, 0.0 if intercept is None else intercept)
    if ds.get("ModalityLUTSequence"):
        return Rescale(table=ds)
    return Rescale()

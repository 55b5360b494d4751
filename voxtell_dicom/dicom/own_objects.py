"""Which objects are results of this software: they start no work, whatever a rule says (docs/rules.md)."""

from __future__ import annotations

from typing import Final

from pydicom.dataset import Dataset

from voxtell_dicom.dicom.attributes import get, text

MANUFACTURER: Final = "voxtell-dicom"
"""Manufacturer (0008,0070) of all results, and of their item of Contributing Equipment Sequence (0018,A001)."""


def is_own(header: Dataset) -> bool:
    """Return True if Manufacturer, or that of any Contributing Equipment item, is ours (PS3.3 C.7.5.1, C.12.1.1.5).

    The whole value counts: "voxtell-dicom phantom" names synthetic images, which are there to be segmented. A result
    that other software changed still has our item, so it is ours, too.
    """
    return any(
        text(maker, "Manufacturer").casefold() == MANUFACTURER
        for maker in (header, *(get(header, "ContributingEquipmentSequence") or ()))
    )

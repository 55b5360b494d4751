"""The elements of a dataset that are what their VR allows: scanners write others, too."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset


def sound_elements(ds: Dataset) -> Iterator[DataElement]:
    """The elements that pydicom can convert; not text where a binary number belongs, nor a sequence that is none."""
    for tag in sorted(ds.keys()):
        try:
            yield ds[tag]
        except Exception:  # whatever the conversion raises: nothing of it is known
            continue


FUNCTIONAL_GROUPS = 0x5200  # the group of their sequences: large, and read frame by frame


def drop_broken(ds: Dataset) -> None:
    """Take out of a dataset, and of all items but those of functional groups, what `sound_elements` leaves out."""
    sound = list(sound_elements(ds))
    for tag in ds.keys() - {element.tag for element in sound}:
        del ds[tag]
    for element in sound:
        if element.VR == "SQ" and element.tag.group != FUNCTIONAL_GROUPS:
            for item in element.value:
                drop_broken(item)

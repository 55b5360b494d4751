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


def drop_broken(ds: Dataset) -> None:
    """Take out of a dataset, and of all items of its sequences, what `sound_elements` leaves out."""
    sound = list(sound_elements(ds))
    for tag in ds.keys() - {element.tag for element in sound}:
        del ds[tag]
    for element in sound:
        for item in element.value if element.VR == "SQ" else ():
            drop_broken(item)

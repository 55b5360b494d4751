"""Elements whose values are valid for their VR: scanners write others, too."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset


def sound_elements(ds: Dataset) -> Iterator[DataElement]:
    """Yield the elements whose value is valid for their VR; skip the others."""
    for tag in sorted(ds.keys()):
        try:
            yield ds[tag]
        except Exception:  # whatever the conversion raises: nothing of it is known
            continue


FUNCTIONAL_GROUPS = 0x5200  # the group of their sequences: large, and read frame by frame


def drop_broken(ds: Dataset) -> None:
    """Remove what `sound_elements` skips from a dataset and from all items but those of functional groups."""
    sound = list(sound_elements(ds))
    for tag in ds.keys() - {element.tag for element in sound}:
        del ds[tag]
    for element in sound:
        if element.VR == "SQ" and element.tag.group != FUNCTIONAL_GROUPS:
            for item in element.value:
                drop_broken(item)

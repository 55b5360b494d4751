"""Whether masks overlap: compared where their boxes meet, so nothing dense is made."""

from __future__ import annotations

from collections.abc import Sequence

from voxtell_dicom.model import Mask


def overlapping(masks: Sequence[Mask]) -> bool:
    """Whether any voxel belongs to two masks: compared where boxes meet, so nothing dense is made."""
    for first, one in enumerate(masks):
        for other in masks[first + 1 :]:
            common = [(max(a[0], b[0]), min(a[1], b[1])) for a, b in zip(one.box, other.box, strict=True)]
            if all(start < stop for start, stop in common) and _meet(one, other, common):
                return True
    return False


def _meet(one: Mask, other: Mask, common: Sequence[tuple[int, int]]) -> bool:
    crops = []
    for mask in (one, other):
        inside = tuple(
            slice(start - own[0], stop - own[0]) for (start, stop), own in zip(common, mask.box, strict=True)
        )
        crops.append(mask.crop()[inside])
    return bool((crops[0] & crops[1]).any())

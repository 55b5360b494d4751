"""Whether segments overlap: compared where their boxes meet, so nothing dense is made."""

from __future__ import annotations

from collections.abc import Sequence

from voxtell_dicom.encode.seg.planes import Layer


def overlapping(layers: Sequence[Layer]) -> bool:
    """Whether any voxel belongs to two segments."""
    for first, one in enumerate(layers):
        for other in layers[first + 1 :]:
            common = [(max(a[0], b[0]), min(a[1], b[1])) for a, b in zip(one.box, other.box, strict=True)]
            if all(start < stop for start, stop in common) and _meet(one, other, common):
                return True
    return False


def _meet(one: Layer, other: Layer, common: Sequence[tuple[int, int]]) -> bool:
    crops = []
    for layer in (one, other):
        inside = tuple(
            slice(start - own[0], stop - own[0]) for (start, stop), own in zip(common, layer.box, strict=True)
        )
        crops.append(layer.crop()[inside] > 0)
    return bool((crops[0] & crops[1]).any())

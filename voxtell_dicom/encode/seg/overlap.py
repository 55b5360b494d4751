"""Whether segments overlap: laid on one another frame by frame, so that one plane is held and each is unpacked once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from voxtell_dicom.model import Mask


def overlapping(masks: Sequence[Mask]) -> bool:
    """Return whether any voxel belongs to two segments. masks: none empty."""
    places = range(len(masks))
    some = [masks[one] for one in places if any(_meet(masks[one], masks[other]) for other in places if other != one)]
    if not some:
        return False
    rows, columns = (max(mask.box[axis][1] for mask in some) for axis in (1, 2))
    taken = np.zeros((rows, columns), bool)
    for frame in range(min(mask.box[0][0] for mask in some), max(mask.box[0][1] for mask in some)):
        taken[:] = False
        for mask in some:
            if mask.box[0][0] <= frame < mask.box[0][1]:
                there, plane = taken[mask.slices[1:]], mask.plane(frame)
                if (there & plane).any():
                    return True
                there |= plane
    return False


def _meet(one: Mask, other: Mask) -> bool:
    return all(max(a[0], b[0]) < min(a[1], b[1]) for a, b in zip(one.box, other.box, strict=True))

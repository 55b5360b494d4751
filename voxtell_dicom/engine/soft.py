"""Probability maps beside masks: asked of an engine as requests of a low threshold, in the same pass over the windows.

A map is the network's own probability, 0 below `PROBABILITY_FLOOR`. Of what is done to a mask afterwards it follows one
thing: what was above the threshold and is not in the mask (a part removed, or lost to another prompt of an exclusive
group) is 0, and so is the slope round it, the voxels below the threshold that are nearer to it than to what was kept.
Holes that were filled keep their probability.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from voxtell_dicom.model import PROBABILITY_FLOOR, Cleanup, Mask, Probabilities, Request, Segment

Run = Callable[[Sequence[Request]], Iterator[Segment]]


@dataclass(frozen=True)
class Soft:
    """A segment, and its probability map where the request asked for one."""

    segment: Segment
    probabilities: Probabilities | None


def with_probabilities(run: Run, requests: Sequence[Request]) -> Iterator[Soft]:
    """Run the requests once; those with `probability` come with their map, of an engine that has none 0 and 255.

    run: `Engine.segment` with everything but the requests.
    """
    masks = [replace(request, probability=False) for request in requests]
    maps = {
        mask: replace(
            mask,
            threshold=min(PROBABILITY_FLOOR, mask.threshold),
            probability=True,
            cleanup=Cleanup(),
            exclusive_group="",
        )
        for mask, request in zip(masks, requests, strict=True)
        if request.probability
    }
    asked = dict.fromkeys([*masks, *maps.values()])
    found: dict[Request, Segment] = {}
    low: dict[Request, Segment] = {}
    for segment in run(list(asked)):
        if segment.request.probability:
            low[segment.request] = segment
        else:
            found[segment.request] = segment
    for request, mask in zip(requests, masks, strict=True):
        if mask not in found:
            return  # cancelled
        segment = replace(found[mask], request=request)
        soft = map_of(low[maps[mask]], segment.mask, request.threshold) if request.probability else None
        yield Soft(segment, soft)


def map_of(low: Segment, mask: Mask, threshold: float) -> Probabilities:
    """The map of a mask that was cleaned up, as above; nothing where the mask is empty.

    low: what the engine gave at a low threshold. threshold: that of the mask.
    """
    box = low.mask.box
    inside = low.mask.crop()
    if low.probability is None:
        probability = inside.astype(np.float32)
    else:
        probability = np.where(inside, low.probability, 0).astype(np.float32)
    kept = mask.within(box)
    gone = (probability > threshold) & ~kept
    if not mask.voxels:
        probability[:] = 0
    elif gone.any():
        nearest = ndimage.distance_transform_edt(~(gone | kept), return_distances=False, return_indices=True)
        probability[gone[tuple(nearest)]] = 0
    return Probabilities.of(box, np.rint(probability * 255).astype(np.uint8))

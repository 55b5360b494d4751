"""A Label Map Segmentation (PS3.3 A.51): one value a voxel, RLE, a fraction of the size of a BINARY one.

For peers known to take it (docs/viewers.md). It cannot overlap: where masks do, the smaller segment is kept, so that a
lesion stays visible within its organ; the object then says so in its Content Description.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.uid import RLELossless

from voxtell_dicom.encode import common, provenance
from voxtell_dicom.encode.frames import per_frame_groups
from voxtell_dicom.encode.modules import segmentation
from voxtell_dicom.encode.part10 import write_once
from voxtell_dicom.encode.rle import encapsulated, rle_frame
from voxtell_dicom.encode.seg import check, overlapping
from voxtell_dicom.encode.sources import read_sources
from voxtell_dicom.errors import EncodingError
from voxtell_dicom.model import Found, Mask, Plan, Result, Volume

POLICY = "Where segments overlapped, the smaller is kept"


def encode_labelmap(
    plan: Plan,
    volume: Volume,
    found: Sequence[Found],
    *,
    directory: Path,
    series_number_base: int = 100,
    engine: str | None = None,
) -> Result | None:
    """As `encode_seg`, as a label map: segment numbers are pixel values, 0 is background. At most 255 segments."""
    check(plan, volume, found)
    kept = [(index, item) for index, item in enumerate(found) if item.mask.voxels]
    if not kept:
        return None
    if len(kept) > 255:
        raise EncodingError(f"rule {plan.rule!r}: {len(kept)} segments do not fit the 8 bits of a label map")
    path = common.path_of(plan, "labelmap", directory)
    if (there := common.already("labelmap", path, found, volume)) is not None:
        return there
    sources = read_sources(volume)
    maker = provenance.maker_of(plan, engine)
    masks = [item.mask for _, item in kept]
    frames = sorted({frame for frame, _ in _planes(masks, volume.grid.shape, values=False)})
    ds = segmentation(
        plan,
        maker,
        volume,
        kept,
        sources,
        frames=len(frames),
        overlap=False,
        series_number_base=series_number_base,
        kind="labelmap",
    )
    if overlapping(masks):
        ds.ContentDescription = POLICY
    groups = per_frame_groups([(0, frame) for frame in frames], volume, sources, labelmap=True)
    encoded = [rle_frame(plane) for _, plane in _planes(masks, volume.grid.shape)]
    digest = write_once(path, ds, (groups, *encapsulated(encoded)), transfer_syntax=RLELossless)
    return common.result_of(ds, "labelmap", path, digest, found, volume)


def _planes(
    masks: Sequence[Mask], shape: tuple[int, int, int], *, values: bool = True
) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    """(frame, label map of it) of frames with voxels; larger segments are laid down first."""
    crops = [mask.crop() for mask in masks]
    order = sorted(range(len(masks)), key=lambda number: -masks[number].voxels)
    for frame in range(shape[0]):
        here = [n for n in order if masks[n].box[0][0] <= frame < masks[n].box[0][1]]
        here = [n for n in here if crops[n][frame - masks[n].box[0][0]].any()]
        if not here:
            continue
        plane: npt.NDArray[np.uint8] = np.zeros(shape[1:] if values else (0, 0), np.uint8)
        for number in here if values else ():
            inside = plane[masks[number].slices[1:]]
            inside[crops[number][frame - masks[number].box[0][0]]] = number + 1
        yield frame, plane

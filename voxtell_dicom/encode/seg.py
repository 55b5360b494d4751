"""One BINARY Segmentation (PS3.3 A.51) per plan: overlapping segments, source frames only, encoded once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import SegmentationStorage

from voxtell_dicom.encode import explicit_vr, provenance
from voxtell_dicom.encode.frames import pack, per_frame_groups
from voxtell_dicom.encode.modules import segmentation
from voxtell_dicom.encode.part10 import file_digest, write_once
from voxtell_dicom.encode.sources import read_sources
from voxtell_dicom.errors import EncodingError, GridMismatch
from voxtell_dicom.model import Found, Mask, Plan, Result, Volume

LARGEST_VALUE = 2**32 - 2  # bytes of one element with a defined length (PS3.5 7.1.1)


def encode_seg(
    plan: Plan,
    volume: Volume,
    found: Sequence[Found],
    *,
    directory: Path,
    series_number_base: int = 100,
    engine: str | None = None,
) -> Result | None:
    """Write the plan's segmentation into `directory`, or give back the one that is already there.

    found: one per prompt of the plan, in that order, masks on the source grid (frame, row, column). engine: what
    node.yaml's `model.engine` says, for the test mark. Prompts that found nothing are left out and named in
    `Result.empty`; None where nothing at all was found. Bounded memory: masks stay boxes and bits.
    Raises Refusal (identity differs within the series), GridMismatch, EncodingError.
    """
    check(plan, volume, found)
    kept = [(index, item) for index, item in enumerate(found) if item.mask.voxels]
    if not kept:
        return None
    path = directory / f"{provenance.result_uid(plan, 'seg')}.dcm"
    if path.exists():
        return _already_written(plan, volume, path)
    sources = read_sources(volume)
    masks = [item.mask for _, item in kept]
    packed = pack(masks, volume.grid.shape)
    if packed.size > LARGEST_VALUE:
        raise EncodingError(
            f"series {volume.series_uid}: {len(packed.index)} frames make {packed.size / 2**30:.1f} GiB, more than one "
            "element may hold: split the rule's prompts over several rules"
        )
    maker = provenance.maker_of(plan, engine)
    ds = segmentation(
        plan,
        maker,
        volume,
        kept,
        sources,
        frames=len(packed.index),
        overlap=overlapping(masks),
        series_number_base=series_number_base,
    )
    groups = per_frame_groups(packed.index, volume, sources)
    padding = b"\0" * (packed.size % 2)
    head = explicit_vr.header(0x7FE0, 0x0010, "OB", packed.size + len(padding))
    pixels = [chunk.data for chunk in packed.chunks]
    digest = write_once(path, ds, (groups, head, *pixels, padding))
    return _result(plan, volume, ds, path, digest, [index for index, _ in kept])


def check(plan: Plan, volume: Volume, found: Sequence[Found]) -> None:
    """Raises EncodingError or GridMismatch where masks, plan and volume do not belong together."""
    if [item.prompt for item in found] != list(plan.prompts):
        raise EncodingError(f"rule {plan.rule!r}: the masks are not those of the plan's prompts")
    if len(volume.frames) != volume.grid.shape[0]:
        raise GridMismatch(f"series {volume.series_uid}: {len(volume.frames)} frames on a grid of {volume.grid.shape}")


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


def _already_written(plan: Plan, volume: Volume, path: Path) -> Result:
    """The Result of an object that lies in the spool: one UID never has two contents (contracts § 1)."""
    ds = pydicom.dcmread(path, defer_size=1024, stop_before_pixels=True)
    own = {str(provenance.tracking_uid(plan, index)): index for index in range(len(plan.prompts))}
    indices = [own[str(item.TrackingUID)] for item in ds.SegmentSequence]
    return _result(plan, volume, ds, path, file_digest(path), indices)


def _result(plan: Plan, volume: Volume, ds: Dataset, path: Path, digest: str, indices: Sequence[int]) -> Result:
    labels = [prompt.label for prompt in plan.prompts]
    return Result(
        kind="seg",
        sop_instance_uid=str(ds.SOPInstanceUID),
        sop_class_uid=str(SegmentationStorage),
        series_uid=str(ds.SeriesInstanceUID),
        study_uid=str(ds.StudyInstanceUID),
        path=path,
        digest=digest,
        labels=tuple(labels[index] for index in indices),
        empty=tuple(label for index, label in enumerate(labels) if index not in set(indices)),
        warnings=volume.warnings,
    )

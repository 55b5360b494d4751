"""One BINARY Segmentation (PS3.3 A.51) per plan: overlapping segments, source frames only, encoded once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import SegmentationStorage

from voxtell_dicom.encode import explicit_vr, provenance, words
from voxtell_dicom.encode.clock import stamp, zone
from voxtell_dicom.encode.colors import colors_of, dicom_cielab
from voxtell_dicom.encode.frames import Packed, pack, per_frame_groups
from voxtell_dicom.encode.part10 import file_digest, write_once
from voxtell_dicom.encode.sources import Sources, read_sources
from voxtell_dicom.encode.template import Naming, build
from voxtell_dicom.encode.terminology import Term, private_scheme_item, term_of, write_term
from voxtell_dicom.errors import EncodingError, GridMismatch
from voxtell_dicom.model import Found, Mask, Plan, Prompt, Result, Volume

LARGEST_VALUE = 2**32 - 2  # bytes of one element with a defined length (PS3.5 7.1.1)
_Kept = tuple[int, Prompt, Mask]


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
    if [item.prompt for item in found] != list(plan.prompts):
        raise EncodingError(f"rule {plan.rule!r}: the masks are not those of the plan's prompts")
    if len(volume.frames) != volume.grid.shape[0]:
        raise GridMismatch(f"series {volume.series_uid}: {len(volume.frames)} frames on a grid of {volume.grid.shape}")
    kept = [(index, item.prompt, item.mask) for index, item in enumerate(found) if item.mask.voxels]
    if not kept:
        return None
    path = directory / f"{provenance.result_uid(plan, 'seg')}.dcm"
    if path.exists():
        return _already_written(plan, volume, path)
    sources = read_sources(volume)
    packed = pack([mask for _, _, mask in kept], volume.grid.shape)
    if packed.size > LARGEST_VALUE:
        raise EncodingError(
            f"series {volume.series_uid}: {len(packed.index)} frames make {packed.size / 2**30:.1f} GiB, more than one "
            "element may hold: split the rule's prompts over several rules"
        )
    maker = provenance.maker_of(plan, engine)
    ds = _dataset(plan, maker, volume, kept, sources, packed, series_number_base)
    groups = per_frame_groups(packed.index, volume, sources.positions)
    padding = b"\0" * (packed.size % 2)
    head = explicit_vr.header(0x7FE0, 0x0010, "OB", packed.size + len(padding))
    pixels = [chunk.data for chunk in packed.chunks]
    digest = write_once(path, ds, (groups, head, *pixels, padding))
    return _result(plan, volume, ds, path, digest, [index for index, _, _ in kept])


def _dataset(
    plan: Plan,
    maker: provenance.Maker,
    volume: Volume,
    kept: Sequence[_Kept],
    sources: Sources,
    packed: Packed,
    series_number_base: int,
) -> Dataset:
    prompts = [prompt for _, prompt, _ in kept]
    warned = bool(volume.warnings) or "incomplete" in plan.options or bool(plan.options.get("warnings"))
    description = words.series_description(plan, maker, len(kept), len(plan.prompts), warned)
    texts = [description, plan.rule, *(prompt.label + prompt.text for prompt in prompts)]
    charset = words.character_set(sources.newest.get("SpecificCharacterSet"), texts)
    words.recode(sources.newest, charset)
    header = sources.newest
    terms = [term_of(prompt.text) for prompt in prompts]
    naming = Naming(
        provenance.result_uid(plan, "seg"),
        provenance.result_series_uid(plan, volume.series_uid, "seg"),
        words.series_number(header.get("SeriesNumber"), plan, series_number_base),
        description,
        "SEGMENTATION",
        words.clipped(f"Segmentation by text prompt, rule {plan.rule}"),
    )
    segments = _segments(plan, maker, kept, terms)
    ds = build(volume, header, sources.positions[0], segments, naming, charset)
    now = datetime.now(zone(header))
    stamp(ds, now)
    provenance.write_equipment(ds, maker)
    ds.ContributingEquipmentSequence = Items(
        provenance.contributing_equipment(maker, header, now.strftime("%Y%m%d%H%M%S.%f%z"))
    )
    if any(term.private for term in terms):
        ds.CodingSchemeIdentificationSequence = Items([private_scheme_item()])
    ds.SegmentsOverlap = "YES" if _overlap([mask for _, _, mask in kept]) else "NO"
    ds.NumberOfFrames = len(packed.index)
    ds.ReferencedSeriesSequence = Items([_referenced_series(volume)])
    organization = provenance.made_uid("dimensions", naming.sop_instance_uid)
    ds.DimensionOrganizationSequence[0].DimensionOrganizationUID = organization
    for item in ds.DimensionIndexSequence:
        item.DimensionOrganizationUID = organization
    if sources.lossy:
        ds.LossyImageCompression = "01"
        if sources.lossy_ratio:
            ds.LossyImageCompressionRatio = list(sources.lossy_ratio)
        if sources.lossy_method:
            ds.LossyImageCompressionMethod = list(sources.lossy_method)
    return ds


def _segments(plan: Plan, maker: provenance.Maker, kept: Sequence[_Kept], terms: Sequence[Term]) -> list[Dataset]:
    """Items of Segment Sequence, numbered from 1 (PS3.3 C.8.20.2)."""
    colors = colors_of([prompt for _, prompt, _ in kept])
    segments = []
    for number, ((index, prompt, _), term, color) in enumerate(zip(kept, terms, colors, strict=True), 1):
        segment = Dataset()
        segment.SegmentNumber = number
        segment.SegmentLabel = words.segment_label(prompt.label, maker)
        segment.SegmentDescription = prompt.text[: words.ST]
        segment.SegmentAlgorithmType = "AUTOMATIC"
        segment.SegmentAlgorithmName = maker.name
        segment.SegmentationAlgorithmIdentificationSequence = Items(
            [provenance.algorithm_identification(plan, maker, prompt.threshold)]
        )
        write_term(segment, term)
        segment.RecommendedDisplayCIELabValue = dicom_cielab(color)
        segment.TrackingID = provenance.tracking_id(plan, index)
        segment.TrackingUID = provenance.tracking_uid(plan, index)
        segments.append(segment)
    return segments


def _referenced_series(volume: Volume) -> Dataset:
    """Every instance of the volume, once (Common Instance Reference, PS3.3 C.12.2)."""
    series = Dataset()
    series.SeriesInstanceUID = volume.series_uid
    items = []
    for uid, sop_class in dict.fromkeys((frame.sop_instance_uid, frame.sop_class_uid) for frame in volume.frames):
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
        items.append(item)
    series.ReferencedInstanceSequence = Items(items)
    return series


def _overlap(masks: Sequence[Mask]) -> bool:
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

"""Segmentations (PS3.3 A.51) of a plan in the form that a peer takes: source frames only, each object encoded once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless

from voxtell_dicom.encode.common import explicit_vr, provenance
from voxtell_dicom.encode.common import objects as common
from voxtell_dicom.encode.common.part10 import write_once
from voxtell_dicom.encode.common.profiles import GENERIC, Form
from voxtell_dicom.encode.common.sources import Sources, read_sources
from voxtell_dicom.encode.seg.frames import pack, per_frame_groups
from voxtell_dicom.encode.seg.modules import Kept, segmentation
from voxtell_dicom.encode.seg.overlap import overlapping
from voxtell_dicom.encode.seg.planes import POLICY, Layer, check_fits, label_planes, occupied, segment_planes
from voxtell_dicom.encode.seg.rle import encapsulated, rle_frame
from voxtell_dicom.errors import EncodingError, GridMismatch
from voxtell_dicom.files import sha256_of
from voxtell_dicom.model import Found, Plan, Result, Volume
from voxtell_dicom.terms.colors import Rgb, colors_of

LARGEST_VALUE = 2**32 - 2  # bytes of one element with a defined length (PS3.5 7.1.1)
LABELS_IN_A_BYTE = 255
SYNTAXES = {"native": ExplicitVRLittleEndian, "rle": RLELossless, "deflated": DeflatedExplicitVRLittleEndian}
Index = list[tuple[int, int]]  # (segment, source frame) of each frame, both from 0


def encode_seg(
    plan: Plan,
    volume: Volume,
    found: Sequence[Found],
    *,
    directory: Path,
    series_number_base: int = 100,
    engine: str | None = None,
) -> Result | None:
    """The one BINARY object that a generic peer gets; None where nothing was found. See `encode_segmentation`."""
    base = series_number_base
    made = encode_segmentation(
        plan, volume, found, GENERIC, directory=directory, series_number_base=base, engine=engine
    )
    return made[0] if made else None


def encode_segmentation(
    plan: Plan,
    volume: Volume,
    found: Sequence[Found],
    form: Form,
    *,
    directory: Path,
    series_number_base: int = 100,
    engine: str | None = None,
) -> list[Result]:
    """Write the plan's segmentations into `directory`, or give back those that are already there.

    found: one per prompt of the plan, in that order, masks on the source grid (frame, row, column). engine: what
    node.yaml's `model.engine` says, for the test mark. Prompts that found nothing are left out and named in
    `Result.empty`; nothing at all makes no object. Bounded memory: masks stay boxes and bits.
    Raises Refusal (identity differs within the series), GridMismatch, EncodingError.
    """
    check(plan, volume, found)
    kept = _kept(found)
    parts = _parts(kept, form, volume.grid.shape)
    form = _settled(form, parts)
    colors = dict(zip((index for index, _ in kept), colors_of([item.prompt for _, item in kept]), strict=True))
    sources: Sources | None = None
    results = []
    for ordinal, part in enumerate(parts, 1):
        path = directory / f"{provenance.result_uid(plan, form.kind, form.tag, ordinal)}.dcm"
        if path.exists():
            results.append(_already_written(plan, volume, form, path))
            continue
        sources = sources or read_sources(volume)
        job = _Part(plan, volume, form, part, colors, ordinal, len(parts), common.remarks(plan, volume, found))
        results.append(_write(job, sources, path, series_number_base, engine))
    shown = {index for result in results for index in result.segments}
    empty = tuple(prompt.label for index, prompt in enumerate(plan.prompts) if index not in shown)
    return [replace(result, empty=empty) for result in results]


def settled(form: Form, found: Sequence[Found], volume: Volume) -> Form:
    """The form without what changes nothing: one object is the same, however many there might have been."""
    return _settled(form, _parts(_kept(found), form, volume.grid.shape))


def _settled(form: Form, parts: Sequence[Sequence[Kept]]) -> Form:
    return form if len(parts) > 1 else replace(form, together="all", frames=None)


def _layers(kept: Sequence[Kept], form: Form) -> list[Layer]:
    if form.encoding != "fractional":
        return [item.mask for _, item in kept]
    lacking = [item.prompt.label for _, item in kept if item.probabilities is None]
    if lacking:
        raise EncodingError(f"there are no probabilities of {', '.join(lacking)}: segment again (`jobs rerun`)")
    return [item.probabilities for _, item in kept if item.probabilities]


def _kept(found: Sequence[Found]) -> list[Kept]:
    return [(index, item) for index, item in enumerate(found) if item.mask.voxels]


@dataclass(frozen=True)
class _Part:
    """One of the `of` objects of a plan in a form."""

    plan: Plan
    volume: Volume
    form: Form
    kept: Sequence[Kept]
    colors: dict[int, Rgb]  # by prompt, of all objects: distinct among them
    ordinal: int
    of: int
    remarks: str

    @property
    def layers(self) -> list[Layer]:
        return _layers(self.kept, self.form)


def _parts(kept: Sequence[Kept], form: Form, shape: tuple[int, int, int]) -> list[list[Kept]]:
    """The segments of each object. A segment is never divided: alone it may have more frames than the limit."""
    if form.together == "one":
        return [[item] for item in kept]
    groups = _disjoint(kept, form) if form.together == "disjoint" else [list(kept)] if kept else []
    if form.frames is None:
        return groups
    parts: list[list[Kept]] = []
    for group in groups:
        parts.append([])
        for item in group:
            if parts[-1] and _frames([*parts[-1], item], form, shape) > form.frames:
                parts.append([])
            parts[-1].append(item)
    return parts


def _disjoint(kept: Sequence[Kept], form: Form) -> list[list[Kept]]:
    """Groups of segments of which no two share a voxel: each goes to the first group that it leaves so."""
    groups: list[list[Kept]] = []
    for item in kept:
        fits = (group for group in groups if not any(overlapping(_layers([item, other], form)) for other in group))
        group = next(fits, None)
        if group is None:
            groups.append([item])
        else:
            group.append(item)
    return groups


def _frames(kept: Sequence[Kept], form: Form, shape: tuple[int, int, int]) -> int:
    index = occupied(_layers(kept, form), shape, empty_frames=form.empty_frames)
    return len({frame for _, frame in index} if form.encoding == "labelmap" else index)


def _write(part: _Part, sources: Sources, path: Path, series_number_base: int, engine: str | None) -> Result:
    layers, form, volume = part.layers, part.form, part.volume
    check_fits(layers, volume.grid.shape)
    overlap = overlapping(layers)
    labelmap = form.encoding == "labelmap"
    if labelmap and len(layers) > LABELS_IN_A_BYTE:
        raise EncodingError(
            f"rule {part.plan.rule!r}: {len(layers)} segments do not fit the 8 bits of a label map: split its prompts"
        )
    index = occupied(layers, volume.grid.shape, empty_frames=form.empty_frames)
    if labelmap:
        index = [(0, frame) for frame in sorted({frame for _, frame in index})]
    pixels = _pixel_data(part, index)
    ds = segmentation(
        part.plan,
        provenance.maker_of(part.plan, engine),
        volume,
        part.kept,
        sources,
        form=form,
        ordinal=part.ordinal,
        parts=part.of,
        found=len(part.colors),
        colors=[part.colors[index] for index, _ in part.kept],
        frames=len(index),
        overlap=overlap and not labelmap,
        series_number_base=series_number_base,
        remarks=part.remarks,
    )
    if labelmap and overlap:
        ds.ContentDescription = POLICY
    groups = per_frame_groups(index, volume, sources.positions, labelmap=labelmap)
    syntax: UID = SYNTAXES[form.transfer_syntax]
    digest = write_once(path, ds, chain([groups], pixels), transfer_syntax=syntax)
    return _result(part.plan, volume, form, ds, path, digest, [index for index, _ in part.kept])


def _pixel_data(part: _Part, index: Index) -> Iterable[bytes | memoryview]:
    """The element Pixel Data, piece by piece."""
    shape, form = part.volume.grid.shape, part.form
    if form.encoding == "binary":
        packed = pack([item.mask for _, item in part.kept], shape, empty_frames=form.empty_frames)
        return _native(part, len(index), packed.size, (chunk.data for chunk in packed.chunks))
    if form.encoding == "labelmap":
        sizes = [item.mask.voxels for _, item in part.kept]
        planes = label_planes(part.layers, sizes, [frame for _, frame in index], shape)
    else:
        planes = segment_planes(part.layers, index, shape)
    if form.transfer_syntax == "rle":
        return encapsulated([rle_frame(plane) for plane in planes])
    return _native(part, len(index), len(index) * shape[1] * shape[2], (plane.data for plane in planes))


def _native(part: _Part, frames: int, size: int, pieces: Iterable[memoryview]) -> Iterable[bytes | memoryview]:
    if size > LARGEST_VALUE:
        raise EncodingError(
            f"series {part.volume.series_uid}: {frames} frames make {size / 2**30:.1f} GiB, more than one "
            "element may hold: split the rule's prompts over several rules"
        )
    padding = b"\0" * (size % 2)
    return chain([explicit_vr.header(0x7FE0, 0x0010, "OB", size + len(padding))], pieces, [padding])


def check(plan: Plan, volume: Volume, found: Sequence[Found]) -> None:
    """Raises EncodingError or GridMismatch where masks, plan and volume do not belong together."""
    if [item.prompt for item in found] != list(plan.prompts):
        raise EncodingError(f"rule {plan.rule!r}: the masks are not those of the plan's prompts")
    if len(volume.frames) != volume.grid.shape[0]:
        raise GridMismatch(f"series {volume.series_uid}: {len(volume.frames)} frames on a grid of {volume.grid.shape}")


def _already_written(plan: Plan, volume: Volume, form: Form, path: Path) -> Result:
    """The Result of an object that lies in the spool: one UID never has two contents (contracts § 1)."""
    ds = pydicom.dcmread(path, defer_size=1024, stop_before_pixels=True)
    own = {str(provenance.tracking_uid(plan, index)): index for index in range(len(plan.prompts))}
    indices = [own[str(item.TrackingUID)] for item in ds.SegmentSequence if "TrackingUID" in item]
    return _result(plan, volume, form, ds, path, sha256_of(path), indices)


def _result(
    plan: Plan, volume: Volume, form: Form, ds: Dataset, path: Path, digest: str, indices: Sequence[int]
) -> Result:
    labels = [prompt.label for prompt in plan.prompts]
    return replace(
        common.written(ds, form.kind, path, digest),
        labels=tuple(labels[index] for index in indices),
        warnings=volume.warnings,
        segments=tuple(indices),
    )

"""Segmentations (PS3.3 A.51) of a plan in the form that a peer takes: source frames only, each object encoded once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless

from voxtell_dicom.encode.common import explicit_vr, provenance
from voxtell_dicom.encode.common import objects as common
from voxtell_dicom.encode.common.context import OutputContext
from voxtell_dicom.encode.common.part10 import write_once
from voxtell_dicom.encode.common.profiles import GENERIC, Form
from voxtell_dicom.encode.common.sources import Sources
from voxtell_dicom.encode.seg.frames import pack, packed_size, per_frame_groups
from voxtell_dicom.encode.seg.modules import Part, Shown, segmentation
from voxtell_dicom.encode.seg.overlap import overlapping
from voxtell_dicom.encode.seg.planes import POLICY, check_fits, label_planes, occupied, segment_planes
from voxtell_dicom.encode.seg.rle import encapsulated, rle_frame
from voxtell_dicom.errors import EncodingError, GridMismatch
from voxtell_dicom.files import sha256_of
from voxtell_dicom.model import Mask, Probabilities, Result
from voxtell_dicom.terms.colors import colors_of

LARGEST_VALUE = 2**32 - 2  # bytes of one element with a defined length (PS3.5 7.1.1)
LABELS_IN_A_BYTE = 255
SYNTAXES = {"native": ExplicitVRLittleEndian, "rle": RLELossless, "deflated": DeflatedExplicitVRLittleEndian}
Index = list[tuple[int, int]]  # (segment, source frame) of each frame, both from 0


def encode_seg(context: OutputContext) -> Result | None:
    """The one BINARY object that a generic peer gets; None where nothing was found. See `encode_segmentation`."""
    made = encode_segmentation(context, GENERIC)
    return made[0] if made else None


def encode_segmentation(context: OutputContext, form: Form) -> list[Result]:
    """Write the objects that a form makes of a plan's masks, or return those that exist.

    Prompts that found nothing are left out and named in `Result.empty`; nothing at all makes no object. Bounded memory:
    masks stay boxes and bits. Raises Refusal (identity differs within the series), GridMismatch, EncodingError.
    """
    check(context)
    parts = _parts(context.shown, form, context.volume.grid.shape)
    form = _settled(form, parts)
    prompts = [item.prompt for _, item in context.shown]
    colors = dict(zip((index for index, _ in context.shown), colors_of(prompts), strict=True))
    sources: Sources | None = None
    results = []
    for ordinal, shown in enumerate(parts, 1):
        path = context.path(form.kind, ordinal, form.tag)
        if path.exists():
            results.append(_existing(context, form, path))
            continue
        sources = sources or context.sources()
        part = Part(context, form, shown, tuple(colors[index] for index, _ in shown), ordinal, len(parts))
        results.append(_write(part, sources, path))
    in_objects = {index for result in results for index in result.segments}
    empty = tuple(prompt.label for index, prompt in enumerate(context.plan.prompts) if index not in in_objects)
    return [replace(result, empty=empty) for result in results]


def settled(form: Form, context: OutputContext) -> Form:
    """The form without what changes nothing: one object is the same, however many there might have been."""
    return _settled(form, _parts(context.shown, form, context.volume.grid.shape))


def _settled(form: Form, parts: Sequence[Sequence[Shown]]) -> Form:
    return form if len(parts) > 1 else replace(form, together="all", frames=None)


def _layers(shown: Sequence[Shown], form: Form) -> list[Mask] | list[Probabilities]:
    if form.encoding != "fractional":
        return [item.mask for _, item in shown]
    missing = [item.prompt.label for _, item in shown if item.probabilities is None]
    if missing:
        raise EncodingError(f"there are no probabilities of {', '.join(missing)}: segment again (`jobs rerun`)")
    return [item.probabilities for _, item in shown if item.probabilities]


def _parts(shown: Sequence[Shown], form: Form, shape: tuple[int, int, int]) -> list[list[Shown]]:
    """The segments of each object. A segment is never divided: alone it may have more frames than the limit."""
    if form.together == "one":
        return [[item] for item in shown]
    groups = _disjoint(shown, form) if form.together == "disjoint" else [list(shown)] if shown else []
    if form.frames is None:
        return groups
    parts: list[list[Shown]] = []
    for group in groups:
        parts.append([])
        frames: set[tuple[int, int]] = set()
        for number, item in enumerate(group):
            own = {
                (0 if form.encoding == "labelmap" else number, frame)
                for _, frame in occupied(_layers([item], form), shape, empty_frames=form.empty_frames)
            }
            if parts[-1] and len(frames | own) > form.frames:
                parts.append([])
                frames = set()
            parts[-1].append(item)
            frames |= own
    return parts


def _disjoint(shown: Sequence[Shown], form: Form) -> list[list[Shown]]:
    """Groups of segments of which no two share a voxel: each goes to the first group that it leaves so."""
    groups: list[list[Shown]] = []
    for item in shown:
        fits = (group for group in groups if not _overlap([*group, item], form))
        group = next(fits, None)
        if group is None:
            groups.append([item])
        else:
            group.append(item)
    return groups


def _overlap(shown: Sequence[Shown], form: Form) -> bool:
    layers = _layers(shown, form)
    return overlapping([layer.above_zero() if isinstance(layer, Probabilities) else layer for layer in layers])


def _write(part: Part, sources: Sources, path: Path) -> Result:
    form, volume = part.form, part.context.volume
    layers = _layers(part.shown, form)
    check_fits(layers, volume.grid.shape)
    overlap = _overlap(part.shown, form)
    labelmap = form.encoding == "labelmap"
    if labelmap and len(layers) > LABELS_IN_A_BYTE:
        words = f"{len(layers)} segments do not fit the 8 bits of a label map: split its prompts"
        raise EncodingError(f"rule {part.context.plan.rule!r}: {words}")
    index = occupied(layers, volume.grid.shape, empty_frames=form.empty_frames)
    if labelmap:
        index = [(0, frame) for frame in sorted({frame for _, frame in index})]
    pixels = _pixel_data(part, index)
    ds = segmentation(part, sources, frames=len(index), overlap=overlap and not labelmap)
    if labelmap and overlap:
        ds.ContentDescription = POLICY
    groups = per_frame_groups(index, volume, sources.positions, labelmap=labelmap)
    syntax: UID = SYNTAXES[form.transfer_syntax]
    digest = write_once(path, ds, chain([groups], pixels), text=part.context.text, transfer_syntax=syntax)
    return _result(part.context, form, ds, path, digest, [index for index, _ in part.shown])


def _pixel_data(part: Part, index: Index) -> Iterable[bytes | memoryview]:
    """The element Pixel Data, piece by piece."""
    shape, form = part.context.volume.grid.shape, part.form
    masks = [item.mask for _, item in part.shown]
    if form.encoding == "binary":
        chunks = pack(masks, index, shape)
        return _native(part, len(index), packed_size(len(index), shape), (chunk.data for chunk in chunks))
    if form.encoding == "labelmap":
        planes = label_planes(masks, [frame for _, frame in index], shape)
    else:
        planes = segment_planes(_layers(part.shown, form), index, shape)
    if form.transfer_syntax == "rle":
        return encapsulated([rle_frame(plane) for plane in planes])
    return _native(part, len(index), len(index) * shape[1] * shape[2], (plane.data for plane in planes))


def _native(part: Part, frames: int, size: int, pieces: Iterable[memoryview]) -> Iterable[bytes | memoryview]:
    if size > LARGEST_VALUE:
        raise EncodingError(
            f"series {part.context.volume.series_uid}: {frames} frames make {size / 2**30:.1f} GiB, more than one "
            "element may hold: split the rule's prompts over several rules"
        )
    padding = b"\0" * (size % 2)
    return chain([explicit_vr.header(0x7FE0, 0x0010, "OB", size + len(padding))], pieces, [padding])


def check(context: OutputContext) -> None:
    """Raise EncodingError or GridMismatch where masks, plan and volume do not belong together."""
    plan, volume = context.plan, context.volume
    if [item.prompt for item in context.found] != list(plan.prompts):
        raise EncodingError(f"rule {plan.rule!r}: the masks are not those of the plan's prompts")
    if len(volume.frames) != volume.grid.shape[0]:
        raise GridMismatch(f"series {volume.series_uid}: {len(volume.frames)} frames on a grid of {volume.grid.shape}")


def _existing(context: OutputContext, form: Form, path: Path) -> Result:
    """The Result of an object that was written before: one UID never has two contents (contracts § 1)."""
    plan = context.plan
    ds = pydicom.dcmread(path, defer_size=1024, stop_before_pixels=True)
    own = {str(provenance.tracking_uid(plan, index)): index for index in range(len(plan.prompts))}
    indices = [own[str(item.TrackingUID)] for item in ds.SegmentSequence if "TrackingUID" in item]
    return _result(context, form, ds, path, sha256_of(path), indices)


def _result(context: OutputContext, form: Form, ds: Dataset, path: Path, digest: str, indices: Sequence[int]) -> Result:
    labels = [prompt.label for prompt in context.plan.prompts]
    return replace(
        common.result_of(ds, form.kind, path, digest),
        labels=tuple(labels[index] for index in indices),
        warnings=context.warnings,
        segments=tuple(indices),
    )

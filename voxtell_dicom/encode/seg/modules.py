"""The modules that segmentations of every type share: identity, segments, references, dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from voxtell_dicom.dicom.identity import made_uid
from voxtell_dicom.dicom.source_text import is_ascii
from voxtell_dicom.dicom.text import clipped
from voxtell_dicom.encode.common import provenance, words
from voxtell_dicom.encode.common.clock import stamp, zone
from voxtell_dicom.encode.common.context import OutputContext
from voxtell_dicom.encode.common.profiles import Form
from voxtell_dicom.encode.common.sources import Sources
from voxtell_dicom.encode.common.template import Naming, build
from voxtell_dicom.model import PROBABILITY_FLOOR, Found, Volume
from voxtell_dicom.terms.colors import Rgb, dicom_cielab
from voxtell_dicom.terms.terminology import Term, private_scheme_item, term_for, write_term

Shown = tuple[int, Found]  # index of the prompt in the plan, and what it gave: a mask with voxels
_CONTENT = {"fractional": f"Probability (0 below {PROBABILITY_FLOOR:g})"}


@dataclass(frozen=True)
class Part:
    """One of the `of` objects that a form makes of a plan. ordinal: from 1; colors: of `shown`."""

    context: OutputContext
    form: Form
    shown: Sequence[Shown]
    colors: Sequence[Rgb]
    ordinal: int
    of: int


def segmentation(part: Part, sources: Sources, *, frames: int, overlap: bool) -> Dataset:
    """Everything of a segmentation object that comes before the per-frame groups.

    frames: Number of Frames; overlap: whether segments of the object overlap.
    """
    context, form, shown, ordinal = part.context, part.form, part.shown, part.ordinal
    plan, maker, volume, remarks = context.plan, context.maker, context.volume, context.remarks
    prompts = [item.prompt for _, item in shown]
    warned = bool(volume.warnings) or bool(plan.options.incomplete or plan.options.warnings)
    which = "" if part.of == 1 else prompts[0].label if len(shown) == 1 else f"{ordinal} of {part.of}"
    outcome = words.found_of(len(context.shown), len(plan.prompts))
    description = words.description(plan, maker, form.kind, outcome, warned, which)
    texts = [description, plan.rule, remarks, *(prompt.label + prompt.text for prompt in prompts)]
    header = sources.newest
    ascii_source = is_ascii(context.text)
    charset = words.character_set(header.get("SpecificCharacterSet"), texts, ascii_source=ascii_source)
    terms = [term_for(prompt) for prompt in prompts]
    naming = Naming(
        provenance.result_uid(plan, form.kind, form.tag, ordinal),
        provenance.result_series_uid(plan, volume.series_uid, form.kind, form.tag, ordinal),
        words.series_number(header.get("SeriesNumber"), plan, context.series_number_base, form.kind),
        description,
        "SEGMENTATION",
        clipped(f"{_CONTENT.get(form.encoding, 'Segmentation')} by text prompt, rule {plan.rule}"),
    )
    segments = _segments(part, terms)
    ds = build(volume, header, sources.positions[0], segments, naming, charset, encoding=form.encoding)
    now = datetime.now(zone(header))
    stamp(ds, now)
    provenance.write_equipment(ds, maker)
    ds.ContributingEquipmentSequence = Items(
        provenance.contributing_equipment(maker, header, now.strftime("%Y%m%d%H%M%S.%f%z"))
    )
    if any(term.private for term in terms):
        ds.CodingSchemeIdentificationSequence = Items([private_scheme_item()])
    if remarks:
        ds.CommentsOnThePerformedProcedureStep = remarks
    ds.SegmentsOverlap = "YES" if overlap else "NO"
    ds.NumberOfFrames = frames
    ds.ReferencedSeriesSequence = Items([_referenced_series(volume)])
    organization = made_uid("dimensions", naming.sop_instance_uid)
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


def _segments(part: Part, terms: Sequence[Term]) -> list[Dataset]:
    """Items of Segment Sequence, numbered from 1 (PS3.3 C.8.20.2)."""
    plan, maker = part.context.plan, part.context.maker
    segments = []
    for number, ((index, item), term, color) in enumerate(zip(part.shown, terms, part.colors, strict=True), 1):
        prompt = item.prompt
        segment = Dataset()
        segment.SegmentNumber = number
        segment.SegmentLabel = words.segment_label(prompt.label, maker)
        segment.SegmentDescription = words.segment_description(prompt.text, item.mean_probability, item.uncertain_share)
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

"""Measurements as a structured report: TID 1500, one Volumetric ROI (TID 1411) per segment of the plan's SEG."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    Measurement,
    MeasurementReport,
    ObservationContext,
    ObserverContext,
    ReferencedSegment,
    SourceImageForSegmentation,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from voxtell_dicom.dicom.identity import made_uid
from voxtell_dicom.dicom.own_objects import MANUFACTURER
from voxtell_dicom.encode.common import objects as common
from voxtell_dicom.encode.common import provenance
from voxtell_dicom.encode.common.context import OutputContext
from voxtell_dicom.encode.common.profiles import GENERIC, Form
from voxtell_dicom.encode.common.words import four_digits
from voxtell_dicom.encode.report.measure import Measured, measure
from voxtell_dicom.encode.report.values import quantity_of
from voxtell_dicom.errors import EncodingError
from voxtell_dicom.model import Found, Mask, Plan, Result, Volume
from voxtell_dicom.terms.terminology import PRIVATE_SCHEME, Code, private_scheme_item, term_for

_MM = Code("mm", "UCUM", "millimeter")
_ONE = Code("1", "UCUM", "no units")
VOLUME = Code("118565006", "SCT", "Volume")
LONG_AXIS, SHORT_AXIS = Code("103339001", "SCT", "Long axis"), Code("103340004", "SCT", "Short axis")
EXTENT = Code("STACK_EXTENT", PRIVATE_SCHEME, "Extent across the slices")
MEASUREMENT_GROUP = "125007"  # DCM
SLICES = Code("SLICES", PRIVATE_SCHEME, "Slices with voxels")
SURFACE = Code("SURFACE_AREA", PRIVATE_SCHEME, "Surface area")
MEAN_PROBABILITY = Code("MEAN_PROBABILITY", PRIVATE_SCHEME, "Mean foreground probability")
UNCERTAIN = Code("UNCERTAIN_SHARE", PRIVATE_SCHEME, "Share of voxels of probability 0.3 to 0.7")
DERIVATIONS = {
    "mean": Code("373098007", "SCT", "Mean"),
    "sd": Code("386136009", "SCT", "Standard Deviation"),
    "minimum": Code("255605001", "SCT", "Minimum"),
    "maximum": Code("56851009", "SCT", "Maximum"),
    "median": Code("373099004", "SCT", "Median"),
    "peak": Code("126031", "DCM", "Peak Value Within ROI"),
}
PERCENTILES = {
    "p10": Code("GPMT", "IBSI", "Intensity Histogram 10th Percentile"),
    "p90": Code("OZ0C", "IBSI", "Intensity Histogram 90th Percentile"),
}


def encode_sr(context: OutputContext, segs: Sequence[Result], form: Form = GENERIC) -> Result:
    """Write the report on the segments of `segs` (PS3.16 TID 1500, 1411, 1419), or return the existing one.

    segs: the segmentations of the plan in `form`, which together hold what was found. Values are computed on source
    voxels. UNVERIFIED; tracking identifiers are those of the SEG. Raises as encode_seg.
    """
    plan, volume = context.plan, context.volume
    profile = "generic" if form == GENERIC else f"{form.kind}, {form.tag}"
    path = context.path("sr", profile=profile)
    if (existing := context.existing("sr", path)) is not None:
        return existing
    header = context.sources().newest
    places = {index: (seg, number) for seg in segs for number, index in enumerate(seg.segments, 1)}
    if sorted(places) != [index for index, _ in context.shown]:
        raise EncodingError(f"{segs[0].sop_instance_uid}: its segments are not those that were found")
    quantity = quantity_of(volume.modality, header)
    measured = measure([item.mask for _, item in context.shown], volume, quantity, context.frames)
    groups = [
        _group(context, *places[index], index, values)
        for (index, _), values in zip(context.shown, measured, strict=True)
    ]
    report = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=observer_of(context.maker)),
        procedure_reported=_procedure(volume.modality),
        imaging_measurements=groups,
        title=CodedConcept("126000", "DCM", "Imaging Measurement Report"),
    )
    ds = _document(plan, volume, segs, report, profile)
    texts = [text for _, item in context.shown for text in (item.prompt.text, item.prompt.label)]
    common.identify(ds, context.identity("sr", header, texts, profile=profile))
    _name_observations(ds.ContentSequence, str(ds.SOPInstanceUID))
    ds.CodingSchemeIdentificationSequence = Items([private_scheme_item()])
    return context.write(ds, "sr", path)


def _name_observations(items: Sequence[Dataset], within: str) -> None:
    """An Observation UID (0040,A171) for each measurement group and measurement (PS3.3 C.17.3.2.4, IHE AIR).

    within: what names the place of the items, so that the same report has the same UIDs.
    """
    for number, item in enumerate(items):
        place = f"{within}/{number}"
        if item.ValueType == "NUM" or item.ConceptNameCodeSequence[0].CodeValue == MEASUREMENT_GROUP:
            item.ObservationUID = made_uid("observation", place)
        _name_observations(item.get("ContentSequence") or [], place)


def _document(plan: Plan, volume: Volume, segs: Sequence[Result], report: MeasurementReport, profile: str) -> Dataset:
    evidence = [_evidence(volume.study_uid, seg.series_uid, seg.sop_class_uid, seg.sop_instance_uid) for seg in segs]
    for uid, sop_class in dict.fromkeys((frame.sop_instance_uid, frame.sop_class_uid) for frame in volume.frames):
        evidence.append(_evidence(volume.study_uid, volume.series_uid, sop_class, uid))
    document = Comprehensive3DSR(
        evidence=evidence,
        content=report,
        series_instance_uid=provenance.result_series_uid(plan, volume.series_uid, "sr", profile),
        series_number=1,
        sop_instance_uid=provenance.result_uid(plan, "sr", profile),
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
    )
    ds = Dataset()
    ds.update(document)
    return ds


def _evidence(study_uid: str, series_uid: str, sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    """A stand-in for an instance that the report refers to: identity is written afterwards, from the source."""
    ds = Dataset()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study_uid, series_uid
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class_uid, sop_instance_uid
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(ds, keyword, "")
    ds.StudyDate = ds.StudyTime = ds.ReferringPhysicianName = ""
    return ds


def _group(
    context: OutputContext, seg: Result, number: int, index: int, values: Measured
) -> VolumetricROIMeasurementsAndQualitativeEvaluations:
    """The measurements of the prompt `index`, which is segment `number` of `seg`."""
    plan, maker, item = context.plan, context.maker, context.found[index]
    term = term_for(item.prompt)
    sites = []
    if term.region or term.laterality:
        sites = [
            FindingSite(_concept(term.region or term.type), _concept(term.laterality) if term.laterality else None)
        ]
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=provenance.tracking_uid(plan, index), identifier=provenance.tracking_id(plan, index)
        ),
        referenced_segment=ReferencedSegment(
            seg.sop_class_uid, seg.sop_instance_uid, number, source_images=_source_images(item.mask, context.volume)
        ),
        finding_type=_concept(term.type),
        finding_category=_concept(term.category),
        finding_sites=sites or None,
        algorithm_id=AlgorithmIdentification(
            maker.name, maker.version, parameters=[f"prompt={item.prompt.text}", f"engine={maker.identity}"]
        ),
        measurements=list(_measurements(item, values)),
    )


def _source_images(mask: Mask, volume: Volume) -> list[SourceImageForSegmentation]:
    """The source images that show the segment, multi-frame ones with their frame numbers."""
    frames: dict[tuple[str, str], list[int]] = {}
    for offset in np.flatnonzero(mask.crop().any(axis=(1, 2))):
        source = volume.frames[mask.box[0][0] + int(offset)]
        frames.setdefault((source.sop_class_uid, source.sop_instance_uid), []).append(source.number)
    return [
        SourceImageForSegmentation(sop_class, uid, numbers if numbers != [1] else None)
        for (sop_class, uid), numbers in frames.items()
    ]


def _measurements(item: Found, values: Measured) -> list[Measurement]:
    made = [
        _measurement(VOLUME, values.volume_ml, Code("mL", "UCUM", "milliliter")),
        _measurement(LONG_AXIS, values.long_axis_mm, _MM),
        _measurement(SHORT_AXIS, values.short_axis_mm, _MM),
        _measurement(EXTENT, values.extent_mm, _MM),
        _measurement(SLICES, values.frames, Code("{slices}", "UCUM", "slices")),
    ]
    if values.surface_mm2 is not None:
        made.append(_measurement(SURFACE, values.surface_mm2, Code("mm2", "UCUM", "square millimeter")))
    intensity = values.intensity
    if intensity is not None:
        unit = intensity.quantity.unit
        for name, derivation in DERIVATIONS.items():
            value = getattr(intensity, name)
            if value is not None:
                made.append(_measurement(intensity.quantity.name, value, unit, derivation))
        made += [_measurement(code, getattr(intensity, name), unit) for name, code in PERCENTILES.items()]
    for code, share in ((MEAN_PROBABILITY, item.mean_probability), (UNCERTAIN, item.uncertain_share)):
        if share is not None:
            made.append(_measurement(code, share, _ONE))
    return made


def _measurement(name: Code, value: float, unit: Code, derivation: Code | None = None) -> Measurement:
    return Measurement(
        _concept(name), rounded(value, unit), _concept(unit), derivation=_concept(derivation) if derivation else None
    )


def rounded(value: float, unit: Code) -> float:
    """Return a value to four digits, whole numbers whole, lengths to 0.1 mm: voxels tell no more."""
    return round(four_digits(value), 1) if unit == _MM else four_digits(value)


def _concept(code: Code) -> CodedConcept:
    return CodedConcept(code.value, code.scheme, code.meaning)


def observer_of(maker: provenance.Maker) -> ObserverContext:
    """The program as the observer of a report (PS3.16 TID 1004)."""
    return ObserverContext(
        observer_type=CodedConcept("121007", "DCM", "Device"),
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=maker.device_uid,
            manufacturer_name=MANUFACTURER,
            model_name=maker.name,
            serial_number=maker.device_serial_number,
        ),
    )


def _procedure(modality: str) -> CodedConcept:
    """Procedure Reported: the imaging procedure, as far as the modality tells it."""
    known = {
        "CT": ("77477000", "Computed tomography"),
        "MR": ("113091000", "Magnetic resonance imaging"),
        "PT": ("82918005", "Positron emission tomography"),
    }
    value, meaning = known.get(modality, ("363679005", "Imaging procedure"))
    return CodedConcept(value, "SCT", meaning)

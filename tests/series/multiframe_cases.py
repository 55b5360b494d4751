"""Cases with several frames in an object: Enhanced CT, MR, PET, and Legacy Converted ones by highdicom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import highdicom.legacy
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    EnhancedPETImageStorage,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
)

from tests.series.cases import SHAPE, case
from tests.series.slices import AXIAL, UID, make, noise, normal_of, stack

Frame = dict[str, Any]


def enhanced(
    stored: npt.NDArray[Any],
    frames: Sequence[Frame],
    *,
    sop_class: str = EnhancedMRImageStorage,
    modality: str = "MR",
    number: int = 1,
    shared: bool = False,
    orientation: Sequence[float] = AXIAL,
) -> Dataset:
    """One multi-frame object. Each frame: `position`, and any of `echo`, `b`, `time`, `slope`, `type`.

    shared: Plane Orientation, Pixel Measures and a rescale stand in the shared groups, else in each frame's.
    """
    uid = f"{UID}.8.{number}"
    ds = make(stored[0], (0, 0, 0), SOPClassUID=sop_class, SOPInstanceUID=uid, Modality=modality, InstanceNumber=number)
    for keyword in (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "SliceThickness",
        "RescaleSlope",
    ):
        delattr(ds, keyword)
    del ds.RescaleIntercept
    ds.NumberOfFrames = len(frames)
    ds.PixelData = stored.tobytes()
    common = Dataset()
    ds.SharedFunctionalGroupsSequence = [common]
    groups = []
    for frame in frames:
        own = Dataset()
        place = common if shared else own
        own.PlanePositionSequence = [item(ImagePositionPatient=[f"{value:.9g}" for value in frame["position"]])]
        place.PlaneOrientationSequence = [item(ImageOrientationPatient=[f"{value:.9g}" for value in orientation])]
        place.PixelMeasuresSequence = [item(PixelSpacing=[1.0, 1.0], SliceThickness=2.0, SpacingBetweenSlices=2.0)]
        place.PixelValueTransformationSequence = [
            item(RescaleSlope=f"{frame.get('slope', 1)}", RescaleIntercept=-10, RescaleType="US")
        ]
        own.FrameContentSequence = [item(StackID="1", TemporalPositionIndex=frame.get("time", 1))]
        if "echo" in frame:
            own.MREchoSequence = [item(EffectiveEchoTime=frame["echo"])]
        if "b" in frame:
            own.MRDiffusionSequence = [item(DiffusionBValue=float(frame["b"]))]
        if "type" in frame:
            own.MRImageFrameTypeSequence = [
                item(FrameType=["ORIGINAL", "PRIMARY", "T1", "NONE"], ComplexImageComponent=frame["type"])
            ]
        groups.append(own)
    ds.PerFrameFunctionalGroupsSequence = groups
    return ds


def item(**values: Any) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def places(count: int = SHAPE[0], start: int = 0, orientation: Sequence[float] = AXIAL) -> list[Frame]:
    return [{"position": np.array((-10, -20, -30)) + normal_of(orientation) * 2.0 * (start + i)} for i in range(count)]


@case("Enhanced CT, geometry in the shared groups", handled=(("", 6),))
def enhanced_ct() -> Sequence[Dataset]:
    return [enhanced(noise(SHAPE), places(), sop_class=EnhancedCTImageStorage, modality="CT", shared=True)]


@case("Enhanced MR, geometry in each frame, frames in no order", handled=(("", 6),))
def enhanced_mr_shuffled() -> Sequence[Dataset]:
    frames = places()
    return [enhanced(noise(SHAPE), [frames[i] for i in (3, 0, 5, 1, 4, 2)])]


@case("Enhanced PET, another rescale slope in each frame", handled=(("", 6),))
def enhanced_pet() -> Sequence[Dataset]:
    frames = [{**place, "slope": 0.25 + 0.5 * index} for index, place in enumerate(places())]
    return [enhanced(noise(SHAPE), frames, sop_class=EnhancedPETImageStorage, modality="PT")]


@case("Enhanced MR: two echoes × three times in one object", handled=tuple(
    (f"echo {echo} ms, time {time}", 6) for echo in ("2.5", "5") for time in (1, 2, 3)
))  # fmt: skip
def enhanced_4d() -> Sequence[Dataset]:
    frames = [{**place, "echo": echo, "time": time} for echo in (2.5, 5.0) for time in (1, 2, 3) for place in places()]
    return [enhanced(noise((36, 24, 20)), frames)]


@case("Enhanced MR: b-values in one object", handled=(("b 0", 6), ("b 800", 6)))
def enhanced_b_values() -> Sequence[Dataset]:
    return [enhanced(noise((12, 24, 20)), [{**place, "b": b} for b in (0, 800) for place in places()])]


@case("Enhanced MR: magnitude and phase in one object", handled=(("magnitude", 6), ("phase", 6)))
def enhanced_components() -> Sequence[Dataset]:
    frames = [{**place, "type": word} for word in ("MAGNITUDE", "PHASE") for place in places()]
    return [enhanced(noise((12, 24, 20)), frames)]


@case(
    "Enhanced MR: told apart by Dimension Index Values alone",
    handled=(("dimension 1", 6), ("dimension 2", 6)),
)
def enhanced_dimensions() -> Sequence[Dataset]:
    ds = enhanced(noise((12, 24, 20)), [*places(), *places()])
    in_stack, stack_id, content = 0x00209057, 0x00209056, 0x00209111
    ds.DimensionIndexSequence = [
        item(DimensionIndexPointer=pointer, FunctionalGroupPointer=content) for pointer in (in_stack, stack_id)
    ]
    for index, groups in enumerate(ds.PerFrameFunctionalGroupsSequence):
        content = groups.FrameContentSequence[0]
        content.InStackPositionNumber, content.DimensionIndexValues = index % 6 + 1, [index % 6 + 1, index // 6 + 1]
    return [ds]


@case("Enhanced MR: arterial spin labelling (ASL Context)", handled=(("control", 6), ("label", 6)))
def enhanced_labels() -> Sequence[Dataset]:
    ds = enhanced(noise((12, 24, 20)), [*places(), *places()])
    for index, groups in enumerate(ds.PerFrameFunctionalGroupsSequence):
        groups.MRArterialSpinLabelingSequence = [item(ASLContext="LABEL" if index < 6 else "CONTROL")]
    return [ds]


@case("Enhanced MR: arterial spin labelling (Philips private)", handled=(("control", 6), ("label", 6)))
def enhanced_labels_philips() -> Sequence[Dataset]:
    ds = enhanced(noise((12, 24, 20)), [*places(), *places()])
    for index, groups in enumerate(ds.PerFrameFunctionalGroupsSequence):
        within = Dataset()
        for one in (groups, within):  # in the fifth block, as the scanner writes it
            one.add_new(0x20050014, "LO", "Philips MR Imaging DD 005")
        within.add_new(0x20051429, "CS", "LABEL" if index < 6 else "CONTROL")
        groups.add_new(0x2005140F, "SQ", [within])
    return [ds]


@case("Enhanced MR: one volume in two objects", handled=(("", 6),))
def enhanced_in_two_objects() -> Sequence[Dataset]:
    stored = noise(SHAPE)
    return [enhanced(stored[:4], places(4), number=1), enhanced(stored[4:], places(2, start=4), number=2)]


@case("Enhanced MR: as many functional groups as frames, one is missing", refused=("frame-count",))
def enhanced_frame_count() -> Sequence[Dataset]:
    ds = enhanced(noise(SHAPE), places())
    ds.NumberOfFrames = 7
    return [ds]


def converted(converter: Callable[..., Dataset], slices: Sequence[Dataset], number: int = 1) -> list[Dataset]:
    """Classic slices as highdicom converts them."""
    return [
        converter(
            slices,
            series_instance_uid=f"{UID}.2",
            series_number=1,
            sop_instance_uid=f"{UID}.8.{number}",
            instance_number=number,
        )
    ]


@case("Legacy Converted Enhanced CT (highdicom)", handled=(("", 6),))
def legacy_ct() -> Sequence[Dataset]:
    slices = stack(noise(SHAPE), SOPClassUID=CTImageStorage, edit=_for_conversion)
    return converted(highdicom.legacy.LegacyConvertedEnhancedCTImage, slices)


@case("Legacy Converted Enhanced MR (highdicom)", handled=(("", 6),))
def legacy_mr() -> Sequence[Dataset]:
    slices = stack(noise(SHAPE), SOPClassUID=MRImageStorage, Modality="MR", edit=_for_conversion)
    return converted(highdicom.legacy.LegacyConvertedEnhancedMRImage, slices)


@case("Legacy Converted Enhanced PET (highdicom)", handled=(("", 6),))
def legacy_pet() -> Sequence[Dataset]:
    pet = PositronEmissionTomographyImageStorage
    slices = stack(noise(SHAPE), SOPClassUID=pet, Modality="PT", edit=_for_conversion)
    return converted(highdicom.legacy.LegacyConvertedEnhancedPETImage, slices)


def _for_conversion(ds: Dataset, index: int) -> None:
    ds.AcquisitionDate = ds.ContentDate = ds.SeriesDate = "20260101"
    ds.AcquisitionTime = ds.ContentTime = ds.SeriesTime = f"1200{index:02d}"
    ds.AcquisitionNumber = 1

"""Cases of headers, pixels and mixtures that are strange, but found: exact where they can be, refused by name else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.tag import Tag
from pydicom.uid import EnhancedCTImageStorage, JPEG2000Lossless, JPEGLSLossless, MRImageStorage, RLELossless

from tests.series import modality_cases  # noqa: F401 - adds its cases
from tests.series.cases import SHAPE, _private_b, case, edited, many
from tests.series.multiframe_cases import enhanced, item, places
from tests.series.slices import CORONAL, UID, make, noise, normal_of, stack

MR: dict[str, Any] = {"SOPClassUID": MRImageStorage, "Modality": "MR"}


def raw(ds: Dataset, keyword: str, value: bytes) -> None:
    """An attribute as bytes that pydicom would not write of itself."""
    tag = Tag(keyword)
    ds[tag] = RawDataElement(tag, dictionary_VR(tag), len(value), value + b" " * (len(value) % 2), 0, False, True)


# Positions and directions


@case("Feet first, supine", handled=(("", 6),))
def feet_first_supine() -> Sequence[Dataset]:
    return stack(noise(SHAPE), orientation=(-1, 0, 0, 0, 1, 0), PatientPosition="FFS")


@case("Head first, decubitus right", handled=(("", 6),))
def decubitus_right() -> Sequence[Dataset]:
    return stack(noise(SHAPE), orientation=(0, 1, 0, -1, 0, 0), PatientPosition="HFDR")


@case("Feet first, decubitus left, from feet to head", handled=(("", 6),))
def decubitus_left() -> Sequence[Dataset]:
    return stack(noise(SHAPE), orientation=(0, -1, 0, -1, 0, 0), step=(0, 0, 2), PatientPosition="FFDL")


@case("Gantry tilt of −30°", handled=(("", 6),), warnings=("tilt",))
def gantry_tilt_backwards() -> Sequence[Dataset]:
    return stack(noise(SHAPE), spacing=(3.0, 0.5, 0.5), step=(0, 1.732, 3.0), GantryDetectorTilt=-30)


@case("Tilt given by the directions: the table moves along the body", handled=(("", 6),), warnings=("tilt",))
def tilted_directions() -> Sequence[Dataset]:
    orientation = (1, 0, 0, 0, np.cos(0.35), -np.sin(0.35))
    return stack(noise(SHAPE), orientation=orientation, spacing=(2.82, 0.5, 0.5), step=(0, 0, 3.0))


@case("Oblique and tilted", handled=(("", 6),), warnings=("tilt",))
def oblique_tilt() -> Sequence[Dataset]:
    orientation = (0.96, 0.28, 0, -0.28 * 0.6, 0.96 * 0.6, -0.8)
    step = 3 * normal_of(orientation) + 1.1 * np.array(orientation[3:]) + 0.4 * np.array(orientation[:3])
    return stack(noise(SHAPE), orientation=orientation, spacing=(3.0, 0.5, 0.5), step=step.tolist())


@case("Directions differ by ±0.001 from slice to slice", handled=(("", 6),), warnings=("orientation",))
def noisy_directions() -> Sequence[Dataset]:
    off = np.random.default_rng(1).uniform(-1e-3, 1e-3, (6, 6))

    def edit(ds: Dataset, index: int) -> None:
        ds.ImageOrientationPatient = [f"{a + b:.8f}" for a, b in zip((1, 0, 0, 0, 1, 0), off[index], strict=True)]

    return stack(noise(SHAPE), edit=edit)


@case("Slices in the plane of a fan: each in another direction", refused=("single-slice",))
def fan() -> Sequence[Dataset]:
    def edit(ds: Dataset, index: int) -> None:
        cosine, sine = np.cos(0.17 * index).round(9), np.sin(0.17 * index).round(9)
        ds.ImageOrientationPatient = [cosine, sine, 0, -sine, cosine, 0]

    return stack(noise(SHAPE), edit=edit)


@case("Positions with exponents, blanks, too many digits, NUL at the end", handled=(("", 6),))
def decimal_strings() -> Sequence[Dataset]:
    forms = (
        "-1.0E1\\-2e+01\\{:.3E} ",
        "  -10 \\ -20 \\   {} ",
        "-10.000000000000000000\\-20.0\\{}.00000000000000000",
        "-10\\-20\\{}\0",
    )

    def edit(ds: Dataset, index: int) -> None:
        raw(ds, "ImagePositionPatient", forms[index % 4].format(2 * index - 30).encode())

    return stack(noise(SHAPE), edit=edit)


@case("Positions with decimal commas", refused=("missing-geometry",))
def decimal_commas() -> Sequence[Dataset]:
    return stack(
        noise(SHAPE), edit=lambda ds, i: raw(ds, "ImagePositionPatient", f"-10,0\\-20,0\\{2 * i - 30},0 ".encode())
    )


@case("One number as Pixel Spacing", refused=("missing-geometry",))
def one_pixel_spacing() -> Sequence[Dataset]:
    return stack(noise(SHAPE), edit=lambda ds, _: setattr(ds, "PixelSpacing", "1"))


@case("No Slice Thickness", handled=(("", 6),))
def no_thickness() -> Sequence[Dataset]:
    return stack(noise(SHAPE), edit=lambda ds, _: delattr(ds, "SliceThickness"))


@case("A Slice Thickness that is no number, or none that can be", handled=(("", 6),))
def strange_thickness() -> Sequence[Dataset]:
    values = (b"abc ", b"1\\2 ", b"nan ", b"-3", b"1e300 ", b"0 ")
    return stack(noise(SHAPE), edit=lambda ds, i: raw(ds, "SliceThickness", values[i]))


@case("Two slices", handled=(("", 2),))
def two_slices() -> Sequence[Dataset]:
    return stack(noise((2, 24, 20)))


# Copies


@case("The whole stack twice, with other UIDs", handled=(("", 6),), set_aside=("duplicate",))
def stack_twice() -> Sequence[Dataset]:
    return many(stack(noise(SHAPE)), stack(noise(SHAPE)))


@case("Two files with one SOP Instance UID and another rescale", refused=("conflicting-instance", "missing-slice"))
def conflicting_rescale() -> Sequence[Dataset]:
    twin = stack(noise(SHAPE))[2]
    twin.RescaleSlope = 3
    return [*stack(noise(SHAPE)), twin]


@case("The same stored values at one position under another rescale", refused=("coincident-slices",))
def coincident_rescale() -> Sequence[Dataset]:
    slices = many(stack(noise(SHAPE)), stack(noise(SHAPE), RescaleSlope=2)[2:3])
    for ds in slices:
        ds.InstanceNumber = 1
    return slices


# Several volumes in one series


@case("Echoes and temporal positions, interleaved", handled=tuple(
    (f"echo {echo} ms, time {time}", 6) for echo in ("2.4", "4.8") for time in (1, 2)
))  # fmt: skip
def echoes_and_times() -> Sequence[Dataset]:
    groups = [edited("EchoTime", [2.4, 4.8], TemporalPositionIdentifier=time, **MR) for time in (1, 2)]
    return many(*groups)[::-1]


@case("Diffusion: trace images of two b-values, and ADC", handled=(("ADC", 6), ("trace, b 50", 6), ("trace, b 800", 6)))
def trace_and_adc() -> Sequence[Dataset]:
    def of(word: str, seed: int, **more: Any) -> list[Dataset]:
        return stack(noise(SHAPE, seed), ImageType=["DERIVED", "PRIMARY", "DIFFUSION", word], **MR, **more)

    return many(of("TRACEW", 1, DiffusionBValue=50.0), of("TRACEW", 2, DiffusionBValue=800.0), of("ADC", 3))


@case("b-values (Toshiba and Canon, in Image Comments)", handled=(("b 0", 6), ("b 1000", 6)))
def b_values_canon() -> Sequence[Dataset]:
    return edited("ImageComments", ["b=0(0,0,0)", "b=1000(0.445,0.019,0.895)"], **MR)


@case("b-values (UIH private), the VR lost", handled=(("b 0", 6), ("b 800", 6)))
def b_values_uih_unknown() -> Sequence[Dataset]:
    values = [np.float64(value).tobytes() for value in (0, 800)]
    return _private_b(0x0065, "Image Private Header", 0x09, "UN", values)


@case("4-D CT, the phase in Image Comments", handled=(("phase 0 %", 6), ("phase 50 %", 6)))
def phases_in_comments() -> Sequence[Dataset]:
    return edited("ImageComments", ["0%", "Gated 50 %"])


@case("4-D CT, the phase in Series Description", handled=(("phase 0 %", 6), ("phase 50 %", 6)))
def phases_in_description() -> Sequence[Dataset]:
    return edited("SeriesDescription", ["Thorax 0.0% Ex", "Thorax 50.0% In"])


@case("Water and fat told apart by Scan Options", handled=(("FAT", 6), ("WATER", 6)))
def dixon_scan_options() -> Sequence[Dataset]:
    return edited("ScanOptions", ["WATER", "FAT"], **MR)


@case("Philips: two stacks, overlapping", handled=(("stack 1", 6), ("stack 2", 6)))
def stacks() -> Sequence[Dataset]:
    return edited("StackID", ["1", "2"], **MR)


@case(
    "Two acquisitions of one region, the second 0.7 mm higher: slices of both alternate",
    handled=(("acquisition 1", 6), ("acquisition 2", 6)),
)
def alternating_acquisitions() -> Sequence[Dataset]:
    second = stack(noise(SHAPE, 1), origin=(-10, -20, -29.3), AcquisitionNumber=2)
    return many(stack(noise(SHAPE), AcquisitionNumber=1), second)


@case("Two acquisitions, between them a gap of 5 mm at 2 mm: not split", refused=("missing-slice",))
def acquisitions_apart() -> Sequence[Dataset]:
    second = stack(noise(SHAPE, 1), origin=(-10, -20, -15), AcquisitionNumber=2)
    return many(stack(noise(SHAPE), AcquisitionNumber=1), second)


@case(
    "Two fields of view side by side at the same heights",
    handled=(("offset -20\\-10", 6), ("offset -20\\190", 6)),
)
def side_by_side() -> Sequence[Dataset]:
    left = stack(noise(SHAPE), origin=(190, -20, -30))
    right = stack(noise(SHAPE, 1), step=(0, 0, 2.0))
    return many(left[::-1], right)


@case("One position in all slices, only Slice Location differs", refused=("coincident-slices",))
def one_position() -> Sequence[Dataset]:
    return stack(noise(SHAPE), step=(0, 0, 0), edit=lambda ds, index: setattr(ds, "SliceLocation", 2.0 * index))


@case("Two acquisitions that overlap by two slices", handled=(("acquisition 1", 6), ("acquisition 2", 6)))
def overlapping_acquisitions() -> Sequence[Dataset]:
    second = stack(noise(SHAPE, 2), AcquisitionNumber=2, origin=(-10, -20, -22))
    return many(stack(noise(SHAPE), AcquisitionNumber=1), second)


@case("Kernels at every second position of one regular volume: not split", handled=(("", 12),))
def alternating_kernels() -> Sequence[Dataset]:
    sharp = stack(noise(SHAPE, 2), ConvolutionKernel="B70f", origin=(-10, -20, -29))
    return many(stack(noise(SHAPE), ConvolutionKernel="B30f"), sharp)


@case("A stack of thick projections", set_aside=("projection",))
def projection_stack() -> Sequence[Dataset]:
    return stack(noise(SHAPE), ImageType=["DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 MIP"])


# Enhanced


@case("Enhanced CT: no Shared Functional Groups", handled=(("", 6),))
def enhanced_no_shared() -> Sequence[Dataset]:
    ds = enhanced(noise(SHAPE), places(), sop_class=EnhancedCTImageStorage, modality="CT")
    del ds.SharedFunctionalGroupsSequence
    return [ds]


@case("Enhanced CT: no orientation", refused=("missing-geometry",))
def enhanced_no_orientation() -> Sequence[Dataset]:
    ds = enhanced(noise(SHAPE), places(), sop_class=EnhancedCTImageStorage, modality="CT")
    for groups in ds.PerFrameFunctionalGroupsSequence:
        del groups.PlaneOrientationSequence
    return [ds]


@case("Enhanced CT: another position and rescale at the top level, too (frames win)", handled=(("", 6),))
def enhanced_top_level() -> Sequence[Dataset]:
    ds = enhanced(noise(SHAPE), places(), sop_class=EnhancedCTImageStorage, modality="CT")
    ds.ImagePositionPatient, ds.RescaleSlope, ds.RescaleIntercept = [0, 0, 0], 3, -5
    ds.ImageOrientationPatient, ds.PixelSpacing = list(CORONAL), [3, 3]
    return [ds]


@case("Enhanced MR: two stacks at one place (Stack ID)", handled=(("stack A", 6), ("stack B", 6)))
def enhanced_stacks() -> Sequence[Dataset]:
    ds = enhanced(noise((12, 24, 20)), [*places(), *places()])
    for index, groups in enumerate(ds.PerFrameFunctionalGroupsSequence):
        groups.FrameContentSequence[0].StackID = "AB"[index // 6]
        groups.FrameContentSequence[0].InStackPositionNumber = index % 6 + 1
    return [ds]


@case(
    "Enhanced MR: a projection and a localizer among the frames",
    handled=(("", 6),),
    set_aside=("localizer", "projection"),
)
def enhanced_other_frames() -> Sequence[Dataset]:
    ds = enhanced(noise((8, 24, 20)), [*places(), {"position": (0, 0, 0)}, {"position": (0, 0, 0)}])
    words = [["ORIGINAL", "PRIMARY", "T1", "NONE"]] * 6
    words += [["DERIVED", "PRIMARY", "PROJECTION IMAGE", "MAXIMUM"], ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]]
    for groups, frame_type in zip(ds.PerFrameFunctionalGroupsSequence, words, strict=True):
        groups.MRImageFrameTypeSequence = [item(FrameType=frame_type)]
    ds.PerFrameFunctionalGroupsSequence[7].PlaneOrientationSequence[0].ImageOrientationPatient = list(CORONAL)
    return [ds]


@case("Enhanced MR: respiratory phases", handled=(("phase 0 %", 6), ("phase 50 %", 6)))
def enhanced_respiratory() -> Sequence[Dataset]:
    ds = enhanced(noise((12, 24, 20)), [*places(), *places()])
    for index, groups in enumerate(ds.PerFrameFunctionalGroupsSequence):
        percent = item(NominalPercentageOfRespiratoryPhase=50.0 * (index // 6))
        groups.RespiratorySynchronizationSequence = [percent]
    return [ds]


@case("Enhanced CT in three objects of a concatenation", handled=(("", 6),))
def concatenation() -> Sequence[Dataset]:
    parts = []
    for part in range(3):
        own = noise(SHAPE)[2 * part : 2 * part + 2]
        ds = enhanced(own, places(2, start=2 * part), sop_class=EnhancedCTImageStorage, modality="CT", number=part + 1)
        ds.ConcatenationUID, ds.InConcatenationNumber = f"{UID}.99", part + 1
        parts.append(ds)
    return parts


# Values


@case("A rescale intercept without a slope", refused=("rescale",))
def lone_intercept() -> Sequence[Dataset]:
    return stack(noise(SHAPE), RescaleSlope=None)


@case("A rescale slope of 0", refused=("rescale",))
def zero_slope() -> Sequence[Dataset]:
    return stack(noise(SHAPE), RescaleSlope=0)


@case("Rescale slopes that are no one number: nan, 1,5, 1\\2, empty", refused=("rescale",))
def slopes_of_words() -> Sequence[Dataset]:
    values = (b"nan ", b"1,5 ", b"1\\2 ", b"", b"1e300 ", b"abc ")
    return stack(noise(SHAPE), edit=lambda ds, i: raw(ds, "RescaleSlope", values[i]))


def _table() -> Dataset:
    values = (np.arange(4096) * 7 % 50000).astype(np.uint16)
    table = item(LUTDescriptor=[4096, 0, 16], ModalityLUTType="HU", LUTData=values.tobytes())
    table["LUTData"].VR = "OW"
    return table


@case("Modality LUT Sequence", handled=(("", 6),))
def modality_lut() -> Sequence[Dataset]:
    def edit(ds: Dataset, _: int) -> None:
        ds.ModalityLUTSequence = [_table()]

    return stack(noise(SHAPE), RescaleSlope=None, RescaleIntercept=None, edit=edit)


@case("Modality LUT Sequence and a rescale", refused=("rescale",))
def lut_and_rescale() -> Sequence[Dataset]:
    return stack(noise(SHAPE), edit=lambda ds, _: setattr(ds, "ModalityLUTSequence", [_table()]))


@case("A rescale in all slices but one", refused=("rescale",))
def one_without_rescale() -> Sequence[Dataset]:
    def edit(ds: Dataset, index: int) -> None:
        if index == 3:
            del ds.RescaleSlope, ds.RescaleIntercept

    return stack(noise(SHAPE), edit=edit)


@case("A Modality LUT without a table", refused=("rescale",))
def broken_lut() -> Sequence[Dataset]:
    def edit(ds: Dataset, _: int) -> None:
        ds.ModalityLUTSequence = [item(LUTDescriptor=[4096, 0, 16], ModalityLUTType="HU")]

    return stack(noise(SHAPE), RescaleSlope=None, RescaleIntercept=None, edit=edit)


@case("12 bits, something else in the bits above", handled=(("", 6),))
def junk_above() -> Sequence[Dataset]:
    return stack(noise(SHAPE), edit=lambda ds, i: setattr(ds, "PixelData", (noise(SHAPE)[i] | 0xA000).tobytes()))


@case("Signed values of 12 bits, the sign not extended", handled=(("", 6),))
def signed_12() -> Sequence[Dataset]:
    values = noise(SHAPE).astype(np.int16) - 2048

    def edit(ds: Dataset, index: int) -> None:
        ds.BitsStored, ds.HighBit = 12, 11
        ds.PixelData = (values[index].view(np.uint16) & 0x0FFF).tobytes()

    return stack(values, RescaleIntercept=0, edit=edit)


@case("32 bits", handled=(("", 6),))
def bits_32() -> Sequence[Dataset]:
    def edit(ds: Dataset, index: int) -> None:
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 32, 32, 31

    return stack(noise(SHAPE).astype(np.uint32) * 100, edit=edit)


@case("High Bit counted from one (8 of 8 bits)", handled=(("", 6),))
def high_bit_from_one() -> Sequence[Dataset]:
    return stack(noise(SHAPE).astype(np.uint8), BitsAllocated=8, BitsStored=8, HighBit=8)


@case("12 bits in the upper ones of 16 (High Bit 15)", refused=("pixels",))
def high_bit() -> Sequence[Dataset]:
    return stack(noise(SHAPE), HighBit=15)


@case("No Bits Stored", refused=("pixels",))
def no_bits_stored() -> Sequence[Dataset]:
    return stack(noise(SHAPE), BitsStored=None)


@case("Pixel Representation that is neither 0 nor 1", refused=("pixels",))
def no_representation() -> Sequence[Dataset]:
    return stack(noise(SHAPE), PixelRepresentation=7)


@case("Pixel Padding Value and range", handled=(("", 6),))
def padding() -> Sequence[Dataset]:
    stored = noise(SHAPE).astype(np.int16) - 1024
    stored[:, :4] = -2000
    return stack(stored, RescaleIntercept=0, PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1990)


@case("MONOCHROME1 and MONOCHROME2 mixed", handled=(("", 6),))
def mixed_photometric() -> Sequence[Dataset]:
    words = ("MONOCHROME1", "MONOCHROME2")
    return stack(noise(SHAPE), edit=lambda ds, i: setattr(ds, "PhotometricInterpretation", words[i % 2]))


@case("PALETTE COLOR", handled=(("", 6),), set_aside=("colour",))
def palette() -> Sequence[Dataset]:
    return [*stack(noise(SHAPE)), make(noise((1, 24, 20))[0], (0, 0, 99), PhotometricInterpretation="PALETTE COLOR")]


@case("Pixel Data shorter than stated", refused=("pixels",))
def short_pixels() -> Sequence[Dataset]:
    return stack(noise(SHAPE), edit=lambda ds, i: setattr(ds, "PixelData", ds.PixelData[:-100]) if i == 2 else None)


@case("No Pixel Data in one slice", refused=("pixels",))
def no_pixels() -> Sequence[Dataset]:
    return stack(noise(SHAPE), edit=lambda ds, i: delattr(ds, "PixelData") if i == 2 else None)


def _cut_short(syntax: str) -> list[Dataset]:
    slices = stack(noise((6, 64, 64)))
    for ds in slices:
        ds.compress(syntax, generate_instance_uid=False)
    (frame,) = generate_frames(slices[3].PixelData, number_of_frames=1)
    slices[3].PixelData = encapsulate([frame[: len(frame) // 2]])
    return slices


@case("A JPEG 2000 frame cut short", refused=("pixels",))
def cut_jpeg_2000() -> Sequence[Dataset]:
    return _cut_short(JPEG2000Lossless)


@case("A JPEG-LS frame cut short", refused=("pixels",))
def cut_jpeg_ls() -> Sequence[Dataset]:
    return _cut_short(JPEGLSLossless)


@case("An RLE frame cut short", refused=("pixels",))
def cut_rle() -> Sequence[Dataset]:
    return _cut_short(RLELossless)


# Identity


@case("Blanks around the Patient ID in some instances", handled=(("", 6),))
def padded_patient_id() -> Sequence[Dataset]:
    return stack(noise(SHAPE), edit=lambda ds, i: setattr(ds, "PatientID", ("T1 ", " T1")[i % 2]))


@case("Patient IDs that differ in case only", refused=("mixed-patients",))
def patient_id_case() -> Sequence[Dataset]:
    return stack(noise(SHAPE), edit=lambda ds, i: setattr(ds, "PatientID", ("tx", "TX")[i % 2]))


@case("UIDs padded by a blank, or by NULs", handled=(("", 6),))
def padded_uids() -> Sequence[Dataset]:
    def edit(ds: Dataset, index: int) -> None:
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
            raw(ds, keyword, str(ds[keyword].value).encode() + (b"", b" ", b"\0\0")[index % 3])

    return stack(noise(SHAPE), edit=edit)


@case("Raw data in the vendors' own classes (Siemens, Philips)", handled=(("", 6),), set_aside=("raw-data",))
def private_raw_data() -> Sequence[Dataset]:
    classes = ("1.3.12.2.1107.5.9.1", "1.3.46.670589.11.0.0.12.2", "1.3.46.670589.11.0.0.12.4")
    raw = [make(noise((1, 24, 20))[0], (0, 0, 0), SOPClassUID=uid, SOPInstanceUID=f"{UID}.9.{uid}") for uid in classes]
    return [*stack(noise(SHAPE)), *raw]


@case("Rows that are no one number", refused=("missing-geometry",))
def strange_rows() -> Sequence[Dataset]:
    return stack(noise(SHAPE), edit=lambda ds, _: setattr(ds, "Rows", [24, 24]))


@case("Images in Acquisition that is no number", handled=(("", 6),))
def strange_images_in_acquisition() -> Sequence[Dataset]:
    words = (b"nan ", b"many", b"6\\6 ", b"6.5 ", b"-3", b"")
    return stack(noise(SHAPE), edit=lambda ds, index: raw(ds, "ImagesInAcquisition", words[index]))


@case("A Number of Frames in words", refused=("frame-count",))
def frames_in_words() -> Sequence[Dataset]:
    return stack(noise(SHAPE), edit=lambda ds, _: raw(ds, "NumberOfFrames", b"one "))


@case("A private SOP class", refused=("unsupported-sop-class",))
def private_class() -> Sequence[Dataset]:
    return stack(noise(SHAPE), SOPClassUID="1.3.46.670589.2.5.1.1")

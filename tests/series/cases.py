"""The test corpus: one named case for each thing that hospitals do to a series, and what becomes of it.

`docs/series.md` holds the table made of this list (`python -m tests.series.cases` prints it).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import UID as Uid
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EncapsulatedPDFStorage,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    MRImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    PositronEmissionTomographyImageStorage,
    RawDataStorage,
    SecondaryCaptureImageStorage,
    UltrasoundImageStorage,
    XRayRadiationDoseSRStorage,
)

from tests.series.slices import AXIAL, CORONAL, SAGITTAL, UID, make, noise, save, stack
from voxtell_dicom.model import Series

SHAPE = (6, 24, 20)


@dataclass(frozen=True)
class Case:
    """handled: the name of each volume and its slices; codes of what is set aside and refused."""

    name: str
    line: str  # for the documentation
    build: Callable[[], Sequence[Dataset]]
    handled: tuple[tuple[str, int], ...] = ()
    set_aside: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def write(self, folder: Path) -> Series:
        return save(list(self.build()), folder)


CASES: list[Case] = []


def case(line: str, **expected: Any) -> Callable[[Callable[[], Sequence[Dataset]]], Callable[[], Sequence[Dataset]]]:
    def register(build: Callable[[], Sequence[Dataset]]) -> Callable[[], Sequence[Dataset]]:
        CASES.append(Case(build.__name__.replace("_", "-"), line, build, **expected))
        return build

    return register


def many(*groups: Sequence[Dataset]) -> list[Dataset]:
    """Several stacks as one series: every instance its own UID."""
    joined = [ds for group in groups for ds in group]
    for number, ds in enumerate(joined, 1):
        ds.SOPInstanceUID = f"{UID}.4.{number}"
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.InstanceNumber = number
    return joined


def edited(name: str, values: Sequence[Any], **more: Any) -> list[Dataset]:
    """One stack for each value of an attribute, at the same positions."""
    return many(*[stack(noise(SHAPE, 10 + i), **{name: value}, **more) for i, value in enumerate(values)])


def other(sop_class: Uid, **more: Any) -> Dataset:
    """An object of another class that was filed in the series."""
    return make(
        noise((1, 24, 20), 99)[0], (0, 0, 500), SOPClassUID=sop_class, SOPInstanceUID=f"{UID}.9.{len(CASES)}", **more
    )


# Geometry


@case("Axial, 2 mm", handled=(("", 6),))
def axial() -> Sequence[Dataset]:
    return stack(noise(SHAPE))


@case("Sagittal", handled=(("", 6),))
def sagittal() -> Sequence[Dataset]:
    return stack(noise(SHAPE), orientation=SAGITTAL)


@case("Coronal", handled=(("", 6),))
def coronal() -> Sequence[Dataset]:
    return stack(noise(SHAPE), orientation=CORONAL)


@case("Slices from head to feet", handled=(("", 6),))
def descending() -> Sequence[Dataset]:
    return stack(noise(SHAPE), step=(0, 0, -2))


@case("Feet first, prone", handled=(("", 6),))
def feet_first_prone() -> Sequence[Dataset]:
    return stack(noise(SHAPE), orientation=(1, 0, 0, 0, -1, 0), PatientPosition="FFP")


@case("Oblique, anisotropic", handled=(("", 6),))
def oblique() -> Sequence[Dataset]:
    return stack(noise(SHAPE), orientation=(0.96, 0.28, 0, -0.28 * 0.6, 0.96 * 0.6, -0.8), spacing=(9.5, 0.31, 0.35))


@case("Gantry tilt of 18.4°: slices shifted by whole pixels for the model", handled=(("", 6),), warnings=("tilt",))
def gantry_tilt() -> Sequence[Dataset]:
    return stack(noise(SHAPE), spacing=(3.0, 0.5, 0.5), step=(0, -1.0, 3.0), GantryDetectorTilt=18.4)


@case("Gantry tilt beyond 45°", refused=("tilt",))
def too_much_tilt() -> Sequence[Dataset]:
    return stack(noise(SHAPE), step=(0, 3.0, 2.0))


@case(
    "Spacing changes along the stack: each run is segmented for itself, their masks are one result",
    handled=(("run 1 of 2, 2.00 mm apart", 6), ("run 2 of 2, 5.00 mm apart", 6)),
)
def two_spacings() -> Sequence[Dataset]:
    upper = stack(noise(SHAPE, 1), spacing=(5.0, 1.0, 1.0), origin=(-10, -20, -17))
    return many(stack(noise(SHAPE)), upper)


@case(
    "A slice between two runs that lies in neither: taken to the nearer one, with a warning",
    handled=(("run 1 of 2, 2.00 mm apart", 6), ("run 2 of 2, 5.00 mm apart", 7)),
    warnings=("runs", "uneven-spacing"),
)
def slice_between_runs() -> Sequence[Dataset]:
    between = stack(noise((1, 24, 20), 2), origin=(-10, -20, -17))
    upper = stack(noise(SHAPE, 1), spacing=(5.0, 1.0, 1.0), origin=(-10, -20, -13))
    return many(stack(noise(SHAPE)), between, upper)


@case(
    "A slice is missing in one of two runs: that run is refused, the result of the other says so",
    handled=(("run 2 of 2, 5.00 mm apart", 6),),
    refused=("missing-slice",),
)
def missing_slice_in_a_run() -> Sequence[Dataset]:
    slices = list(two_spacings())
    del slices[3]
    return slices


@case(
    "Three runs under a gantry tilt, the lowest last",
    handled=(
        ("run 1 of 3, 2.00 mm apart", 6),
        ("run 2 of 3, 5.00 mm apart", 5),
        ("run 3 of 3, 3.00 mm apart", 4),
    ),
    warnings=("tilt",),
)
def three_tilted_runs() -> Sequence[Dataset]:
    def run(count: int, seed: int, step: float, start: float) -> list[Dataset]:
        return stack(
            noise((count, 24, 20), seed), spacing=(step, 0.5, 0.5), step=(0, -step / 3, step),
            origin=(-10, -start / 3, start), GantryDetectorTilt=18.4,
        )  # fmt: skip

    return many(run(4, 2, 3.0, 35), run(5, 1, 5.0, 13), run(6, 0, 2.0, 0))


@case("A slice is missing", refused=("missing-slice",))
def missing_slice() -> Sequence[Dataset]:
    slices = stack(noise((7, 24, 20)))
    del slices[3]
    return slices


@case("Three slices, between two of which one is missing", refused=("missing-slice",))
def missing_of_four() -> Sequence[Dataset]:
    slices = stack(noise((4, 24, 20)))
    del slices[2]
    return slices


@case("Every second slice is missing in a part", refused=("missing-slice",))
def interrupted_interleaved() -> Sequence[Dataset]:
    slices = stack(noise((14, 24, 20)))
    return [ds for index, ds in enumerate(slices) if index < 6 or index % 2 == 0]


@case("Positions jitter by 2 % of the spacing", handled=(("", 6),), warnings=("uneven-spacing",))
def jitter() -> Sequence[Dataset]:
    def edit(ds: Dataset, index: int) -> None:
        ds.ImagePositionPatient[2] += 0.04 * (index % 2)

    return stack(noise(SHAPE), edit=edit)


@case("A slice close beside another (0.6 mm at 2 mm)", refused=("uneven-spacing",))
def too_close() -> Sequence[Dataset]:
    def edit(ds: Dataset, index: int) -> None:
        ds.ImagePositionPatient[2] = [0, 2, 4, 4.6, 6.6, 8.6][index]

    return stack(noise(SHAPE), edit=edit)


@case("Distances of 2, 2.7, 1.6, … mm: on the nearest planes", handled=(("", 6),), warnings=("uneven-spacing",))
def uneven() -> Sequence[Dataset]:
    def edit(ds: Dataset, index: int) -> None:
        ds.ImagePositionPatient[2] = [0, 2, 4.7, 6.3, 8.4, 10.4][index]

    return stack(noise(SHAPE), edit=edit)


@case("Slices jump sideways", refused=("shifted-slices",))
def sideways() -> Sequence[Dataset]:
    def edit(ds: Dataset, index: int) -> None:
        ds.ImagePositionPatient[0] += 7 * (index == 3)

    return stack(noise(SHAPE), edit=edit)


@case("A single slice", refused=("single-slice",))
def single_slice() -> Sequence[Dataset]:
    return stack(noise((1, 24, 20)))


@case("Direction cosines rounded to two decimals", handled=(("", 6),), warnings=("orientation",))
def rounded_cosines() -> Sequence[Dataset]:
    return stack(noise(SHAPE), orientation=(0.95, 0.30, 0.0, -0.30, 0.95, 0.0))


@case("Direction cosines that are no directions", refused=("orientation",))
def bad_cosines() -> Sequence[Dataset]:
    return stack(noise(SHAPE), edit=lambda ds, _: setattr(ds, "ImageOrientationPatient", [1, 0, 0, 1, 0, 0]))


@case("Spacing Between Slices contradicts the positions (positions win)", handled=(("", 6),), warnings=("spacing",))
def wrong_spacing_between() -> Sequence[Dataset]:
    return stack(noise(SHAPE), SpacingBetweenSlices=3.3)


@case("Slice Location contradicts the positions (positions win)", handled=(("", 6),), warnings=("slice-location",))
def wrong_slice_location() -> Sequence[Dataset]:
    return stack(noise(SHAPE), edit=lambda ds, index: setattr(ds, "SliceLocation", -7.0 * index))


@case("Overlapping slices (5 mm thick, 2 mm apart)", handled=(("", 6),))
def overlapping() -> Sequence[Dataset]:
    return stack(noise(SHAPE), edit=lambda ds, _: setattr(ds, "SliceThickness", 5))


@case("No Image Position (Patient)", refused=("missing-geometry",))
def no_position() -> Sequence[Dataset]:
    return stack(noise(SHAPE), edit=lambda ds, _: delattr(ds, "ImagePositionPatient"))


@case("Slices of one stack in two frames of reference", refused=("mixed-frames-of-reference",))
def two_frames_of_reference() -> Sequence[Dataset]:
    return stack(noise(SHAPE), edit=lambda ds, index: setattr(ds, "FrameOfReferenceUID", f"{UID}.3.{index // 3}"))


@case("A slice is missing where the frame of reference changes", refused=("mixed-frames-of-reference",))
def gap_between_references() -> Sequence[Dataset]:
    slices = stack(noise((7, 24, 20)), edit=lambda ds, i: setattr(ds, "FrameOfReferenceUID", f"{UID}.3.{i // 4}"))
    del slices[3]
    return slices


@case(
    "Two echoes, each in a frame of reference of its own",
    handled=(("echo 2.4 ms", 6), ("echo 4.8 ms", 6)),
)
def echo_and_reference() -> Sequence[Dataset]:
    def edit(ds: Dataset, index: int) -> None:
        ds.FrameOfReferenceUID = f"{UID}.3.{ds.EchoTime:g}"

    return edited("EchoTime", [2.4, 4.8], SOPClassUID=MRImageStorage, Modality="MR", edit=edit)


@case(
    "Before and after the patient moved: two stacks told apart by their frames of reference alone",
    handled=(("frame of reference 1", 6), ("frame of reference 2", 6)),
)
def a_stack_in_each_reference() -> Sequence[Dataset]:
    def edit(ds: Dataset, index: int) -> None:
        ds.FrameOfReferenceUID = f"{UID}.33"

    return many(stack(noise(SHAPE)), stack(noise(SHAPE, 1), origin=(-10, -20, -29.3), edit=edit))


# Duplicates


@case("A slice twice, with the same pixels and another UID", handled=(("", 6),), set_aside=("duplicate",))
def duplicate() -> Sequence[Dataset]:
    slices = stack(noise(SHAPE))
    return many(slices, stack(noise(SHAPE))[2:3])


@case("Two different slices at one position", refused=("coincident-slices",))
def coincident() -> Sequence[Dataset]:
    slices = many(stack(noise(SHAPE)), stack(noise(SHAPE, 1))[2:3])
    for ds in slices:
        ds.InstanceNumber = 1
    return slices


@case("The same instance in two files", handled=(("", 6),), set_aside=("duplicate",))
def same_instance_twice() -> Sequence[Dataset]:
    return [*stack(noise(SHAPE)), stack(noise(SHAPE))[2]]


@case("Two files with one SOP Instance UID and different pixels", refused=("conflicting-instance", "missing-slice"))
def conflicting_instance() -> Sequence[Dataset]:
    twin = stack(noise(SHAPE))[2]
    twin.PixelData = noise((1, 24, 20), 5).tobytes()
    return [*stack(noise(SHAPE)), twin]


# Several volumes in one series


@case("Three orientations", handled=(("axial", 6), ("coronal", 6), ("sagittal", 6)))
def orientations() -> Sequence[Dataset]:
    return many(*[stack(noise(SHAPE, i), orientation=plane) for i, plane in enumerate((AXIAL, CORONAL, SAGITTAL))])


@case("Two matrix sizes", handled=(("axial, 24x20", 6), ("axial, 32x32", 6)))
def matrices() -> Sequence[Dataset]:
    return many(stack(noise(SHAPE)), stack(noise((6, 32, 32))))


@case("Two echoes", handled=(("echo 2.4 ms", 6), ("echo 4.8 ms", 6)))
def echoes() -> Sequence[Dataset]:
    return edited("EchoTime", [2.4, 4.8], SOPClassUID=MRImageStorage, Modality="MR")


@case("b-values (standard attribute)", handled=(("b 0", 6), ("b 50", 6), ("b 1000", 6)))
def b_values() -> Sequence[Dataset]:
    return edited("DiffusionBValue", [0.0, 50.0, 1000.0], SOPClassUID=MRImageStorage, Modality="MR")


@case("b-values (Siemens private)", handled=(("b 0", 6), ("b 800", 6)))
def b_values_siemens() -> Sequence[Dataset]:
    return _private_b(0x0019, "SIEMENS MR HEADER", 0x0C, "IS", ["0", "800"])


@case("b-values (GE private, offset by 1e9)", handled=(("b 0", 6), ("b 800", 6)))
def b_values_ge() -> Sequence[Dataset]:
    return _private_b(0x0043, "GEMS_PARM_01", 0x39, "IS", [["0", "8", "0", "0"], ["1000000800", "8", "0", "0"]])


@case("b-values (Philips private)", handled=(("b 0", 6), ("b 800", 6)))
def b_values_philips() -> Sequence[Dataset]:
    return _private_b(0x2001, "Philips Imaging DD 001", 0x03, "FL", [0.0, 800.0])


@case("b-values (UIH private)", handled=(("b 0", 6), ("b 800", 6)))
def b_values_uih() -> Sequence[Dataset]:
    return _private_b(0x0065, "Image Private Header", 0x09, "FD", [0.0, 800.0])


@case("b-values (Siemens sequence name only)", handled=(("b 50", 6), ("b 800", 6)))
def b_values_sequence_name() -> Sequence[Dataset]:
    return edited("SequenceName", ["*ep_b50t", "*ep_b800t"], SOPClassUID=MRImageStorage, Modality="MR")


def _private_b(group: int, creator: str, offset: int, vr: str, values: Sequence[Any]) -> list[Dataset]:
    stacks = []
    for index, value in enumerate(values):
        slices = stack(noise(SHAPE, 10 + index), SOPClassUID=MRImageStorage, Modality="MR")
        for ds in slices:
            ds.private_block(group, creator, create=True).add_new(offset, vr, value)
        stacks.append(slices)
    return many(*stacks)


@case("Magnitude and phase", handled=(("magnitude", 6), ("phase", 6)))
def magnitude_phase() -> Sequence[Dataset]:
    types = [["ORIGINAL", "PRIMARY", "M", "ND"], ["ORIGINAL", "PRIMARY", "P", "ND"]]
    return edited("ImageType", types, SOPClassUID=MRImageStorage, Modality="MR")


@case(
    "Dixon: water, fat, in and opposed phase", handled=(("in phase", 6), ("water", 6), ("fat", 6), ("opposed phase", 6))
)
def dixon() -> Sequence[Dataset]:
    types = [["DERIVED", "PRIMARY", "DIXON", word] for word in ("WATER", "FAT", "IN_PHASE", "OUT_PHASE")]
    return edited("ImageType", types, SOPClassUID=MRImageStorage, Modality="MR")


@case(
    "Diffusion directions at one b-value (Siemens private)", handled=(("gradient 0\\0\\1", 6), ("gradient 1\\0\\0", 6))
)
def gradients_siemens() -> Sequence[Dataset]:
    return _private_b(0x0019, "SIEMENS MR HEADER", 0x0E, "FD", [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])


@case("Arterial spin labelling (Philips private)", handled=(("control", 6), ("label", 6)))
def labels_philips() -> Sequence[Dataset]:
    return _private_b(0x2005, "Philips MR Imaging DD 005", 0x29, "CS", ["CONTROL", "LABEL"])


@case("Real and imaginary (GE private)", handled=(("imaginary", 6), ("real", 6)))
def complex_ge() -> Sequence[Dataset]:
    return _private_b(0x0043, "GEMS_PARM_01", 0x2F, "SS", [2, 3])


@case("Dynamic PET, told apart by Frame Reference Time", handled=(("frame time 1000 ms", 6), ("frame time 2000 ms", 6)))
def dynamic_pet() -> Sequence[Dataset]:
    more = {"SOPClassUID": PositronEmissionTomographyImageStorage, "Modality": "PT"}
    return edited("FrameReferenceTime", [1000, 2000], **more)


@case("Temporal positions", handled=(("time 1", 6), ("time 2", 6), ("time 3", 6)))
def temporal() -> Sequence[Dataset]:
    return edited("TemporalPositionIdentifier", [1, 2, 3], SOPClassUID=MRImageStorage, Modality="MR")


@case(
    "A 4-D series that stopped short",
    handled=(("time 1", 6), ("time 2", 6), ("time 3", 4)),
    warnings=("fewer-slices",),
)
def temporal_interrupted() -> Sequence[Dataset]:
    return temporal()[:-2]


@case("Two reconstruction kernels", handled=(("kernel B30f", 6), ("kernel B70f", 6)))
def kernels() -> Sequence[Dataset]:
    return edited("ConvolutionKernel", ["B30f", "B70f"])


@case(
    "Repeated acquisitions, told apart by Acquisition Number alone",
    handled=(("acquisition 1", 6), ("acquisition 2", 6)),
)
def acquisitions() -> Sequence[Dataset]:
    return edited("AcquisitionNumber", [1, 2])


@case("Acquisition Number grows with each slice of one volume: not split", handled=(("", 6),))
def acquisition_per_slice() -> Sequence[Dataset]:
    return stack(noise(SHAPE), edit=lambda ds, index: setattr(ds, "AcquisitionNumber", index))


@case("Echo Time differs by slice in one regular volume: not split", handled=(("", 6),))
def echo_per_slice() -> Sequence[Dataset]:
    return stack(noise(SHAPE), edit=lambda ds, index: setattr(ds, "EchoTime", 2.0 + index % 2))


@case(
    "Cardiac phases told apart by Trigger Time, another in each slice", handled=(("time no. 1", 6), ("time no. 2", 6))
)
def trigger_times() -> Sequence[Dataset]:
    def at(phase: int) -> list[Dataset]:
        return stack(noise(SHAPE, phase), edit=lambda ds, index: setattr(ds, "TriggerTime", 400 * phase + 7 * index))

    return many(at(0), at(1))


@case(
    "Water and fat at two echoes",
    handled=(("fat, echo 1.2 ms", 6), ("fat, echo 2.4 ms", 6), ("water, echo 1.2 ms", 6), ("water, echo 2.4 ms", 6)),
)
def dixon_echoes() -> Sequence[Dataset]:
    water = edited("EchoTime", [1.2, 2.4], ImageType=["DERIVED", "PRIMARY", "DIXON", "WATER"])
    fat = edited("EchoTime", [1.2, 2.4], ImageType=["DERIVED", "PRIMARY", "DIXON", "FAT"])
    return many(water, fat)


# What else lies in a series


@case("A localizer among the slices", handled=(("", 6),), set_aside=("localizer",))
def localizer() -> Sequence[Dataset]:
    scout = make(
        noise((1, 24, 20))[0],
        (0, 0, 0),
        ImageOrientationPatient=list(CORONAL),
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
    )
    return [*stack(noise(SHAPE)), scout]


@case("A maximum intensity projection", handled=(("", 6),), set_aside=("projection",))
def projection() -> Sequence[Dataset]:
    mip = make(
        noise((1, 24, 20))[0],
        (0, 0, 0),
        ImageOrientationPatient=list(CORONAL),
        ImageType=["DERIVED", "SECONDARY", "MIP"],
    )
    return [*stack(noise(SHAPE)), mip]


@case("A screen capture", handled=(("", 6),), set_aside=("secondary-capture",))
def screen_capture() -> Sequence[Dataset]:
    return [*stack(noise(SHAPE)), other(SecondaryCaptureImageStorage)]


@case("A dose report", handled=(("", 6),), set_aside=("dose-report",))
def dose_report() -> Sequence[Dataset]:
    return [*stack(noise(SHAPE)), other(XRayRadiationDoseSRStorage)]


@case("Raw data", handled=(("", 6),), set_aside=("raw-data",))
def raw_data() -> Sequence[Dataset]:
    return [*stack(noise(SHAPE)), other(RawDataStorage)]


@case("A PDF document", handled=(("", 6),), set_aside=("encapsulated-document",))
def document() -> Sequence[Dataset]:
    return [*stack(noise(SHAPE)), other(EncapsulatedPDFStorage)]


@case("A Siemens mosaic", refused=("mosaic",))
def mosaic() -> Sequence[Dataset]:
    more: dict[str, Any] = {"SOPClassUID": MRImageStorage, "Modality": "MR"}
    return stack(noise((3, 24, 20)), ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"], **more)


@case("A UIH mosaic", refused=("mosaic",))
def mosaic_uih() -> Sequence[Dataset]:
    more: dict[str, Any] = {"SOPClassUID": MRImageStorage, "Modality": "MR", "ImagePositionPatient": None}
    return stack(noise((3, 24, 20)), ImageType=["ORIGINAL", "PRIMARY", "M", "VFRAME"], **more)


@case("Ultrasound", refused=("ultrasound",))
def ultrasound() -> Sequence[Dataset]:
    return stack(noise((3, 24, 20)), SOPClassUID=UltrasoundImageStorage)


@case("Multi-frame secondary capture", refused=("secondary-capture",))
def multi_frame_capture() -> Sequence[Dataset]:
    planes = noise((3, 24, 20))
    sop_class = MultiFrameGrayscaleWordSecondaryCaptureImageStorage
    return [make(planes[0], (0, 0, 0), SOPClassUID=sop_class, NumberOfFrames=3, PixelData=planes.tobytes())]


# Pixels


@case("Implicit VR Little Endian", handled=(("", 6),))
def implicit() -> Sequence[Dataset]:
    return _in_syntax(ImplicitVRLittleEndian)


@case("Deflated", handled=(("", 6),))
def deflated() -> Sequence[Dataset]:
    return _in_syntax(DeflatedExplicitVRLittleEndian)


def _in_syntax(syntax: Uid) -> list[Dataset]:
    slices = stack(noise(SHAPE))
    for ds in slices:
        ds.file_meta.TransferSyntaxUID = syntax
    return slices


@case("RLE", handled=(("", 6),))
def rle() -> Sequence[Dataset]:
    return _compressed("1.2.840.10008.1.2.5")


@case("JPEG 2000 lossless", handled=(("", 6),))
def jpeg_2000() -> Sequence[Dataset]:
    return _compressed(JPEG2000Lossless)


@case("JPEG-LS", handled=(("", 6),))
def jpeg_ls() -> Sequence[Dataset]:
    return _compressed(JPEGLSLossless)


def _compressed(syntax: str) -> list[Dataset]:
    slices = stack(noise((6, 64, 64)))
    for ds in slices:
        ds.compress(syntax, generate_instance_uid=False)
    return slices


@case("Compressed with loss before (0028,2110)", handled=(("", 6),), warnings=("lossy",))
def lossy() -> Sequence[Dataset]:
    return stack(noise(SHAPE), LossyImageCompression="01", LossyImageCompressionRatio=8)


@case("Signed values", handled=(("", 6),))
def signed() -> Sequence[Dataset]:
    return stack(noise(SHAPE).astype(np.int16) - 2048, RescaleIntercept=0)


@case("MONOCHROME1", handled=(("", 6),))
def monochrome1() -> Sequence[Dataset]:
    return stack(noise(SHAPE), PhotometricInterpretation="MONOCHROME1")


@case("No rescale", handled=(("", 6),))
def no_rescale() -> Sequence[Dataset]:
    return stack(noise(SHAPE), RescaleSlope=None, RescaleIntercept=None, SOPClassUID=MRImageStorage, Modality="MR")


@case("PET: another rescale slope in each slice", handled=(("", 6),))
def pet() -> Sequence[Dataset]:
    def edit(ds: Dataset, index: int) -> None:
        ds.RescaleSlope, ds.RescaleIntercept = f"{0.5 + 0.1234 * index:.6g}", 0

    return stack(noise(SHAPE), edit=edit, SOPClassUID=PositronEmissionTomographyImageStorage, Modality="PT")


@case("Colour (a perfusion map)", handled=(("", 6),), set_aside=("colour",))
def colour() -> Sequence[Dataset]:
    return [*stack(noise(SHAPE)), make(noise((1, 24, 20))[0], (0, 0, 99), SamplesPerPixel=3)]


# Identity


@case("Two patients in one series", refused=("mixed-patients",))
def patients() -> Sequence[Dataset]:
    return stack(noise(SHAPE), edit=lambda ds, index: setattr(ds, "PatientID", f"T{index // 3}"))


@case("Two issuers of the Patient ID", refused=("mixed-patients",))
def issuers() -> Sequence[Dataset]:
    return stack(noise(SHAPE), edit=lambda ds, index: setattr(ds, "IssuerOfPatientID", f"H{index // 3}"))


@case("Two studies in one series", refused=("mixed-studies",))
def studies() -> Sequence[Dataset]:
    return stack(noise(SHAPE), edit=lambda ds, index: setattr(ds, "StudyInstanceUID", f"{UID}.1.{index // 3}"))


@case("Empty UIDs", refused=("empty-uid",))
def empty_uids() -> Sequence[Dataset]:
    return stack(noise(SHAPE), edit=lambda ds, _: setattr(ds, "FrameOfReferenceUID", ""))


@case("Type 2 attributes missing", handled=(("", 6),))
def type_2_missing() -> Sequence[Dataset]:
    gone = ["PatientName", "PatientID", "PatientBirthDate", "PatientSex", "ReferringPhysicianName", "Manufacturer"]
    gone += ["StudyDate", "StudyTime", "StudyID", "AccessionNumber", "PatientPosition"]
    more: dict[str, Any] = dict.fromkeys(gone)
    return stack(noise(SHAPE), **more)


def table() -> str:
    """The list as a Markdown table."""
    rows = ["| case | what it is | what becomes of it |", "| --- | --- | --- |"]
    for one in CASES:
        parts = [f"{slices} slices" + (f" ({name})" if name else "") for name, slices in one.handled]
        outcome = ["handled: " + "; ".join(parts)] if parts else []
        outcome += [f"set aside: `{code}`" for code in one.set_aside] + [f"refused: `{code}`" for code in one.refused]
        outcome += [f"warning: `{code}`" for code in one.warnings]
        rows.append(f"| `{one.name}` | {one.line} | {'; '.join(outcome)} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    from tests.series import cases, multiframe_cases, strange_cases  # noqa: F401 - under its own name, and the others' cases

    print(cases.table(), end="")

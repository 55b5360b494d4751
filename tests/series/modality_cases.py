"""Cases of classes beside CT, MR and PET: cone beam CT, nuclear medicine, tomosynthesis, radiographs, maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import (
    BreastProjectionXRayImageStorageForPresentation,
    BreastTomosynthesisImageStorage,
    ComputedRadiographyImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRColorImageStorage,
    MRImageStorage,
    NuclearMedicineImageStorage,
    OphthalmicTomographyImageStorage,
    XRay3DAngiographicImageStorage,
    XRay3DCraniofacialImageStorage,
)

from tests.series.cases import SHAPE, case, many, other
from tests.series.multiframe_cases import Frame, enhanced, item, places
from tests.series.slices import AXIAL, CORONAL, SAGITTAL, UID, make, noise, normal_of, stack

OBLIQUE = (0.96, 0.28, 0.0, -0.28 * 0.6, 0.96 * 0.6, -0.8)


# Cone beam CT


def x_ray_3d(
    stored: npt.NDArray[Any],
    frames: Sequence[Frame],
    technique: str = "NONE",
    sop_class: str = XRay3DCraniofacialImageStorage,
    **more: Any,
) -> Dataset:
    """Return one X-Ray 3D object (PS3.3 A.53, A.54). Each frame as for `enhanced`; `index`: of its reconstruction."""
    ds = enhanced(stored, frames, sop_class=sop_class, modality="DX", **more)
    ds.ImageType = ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
    for groups, frame in zip(ds.PerFrameFunctionalGroupsSequence, frames, strict=True):
        kind = item(FrameType=ds.ImageType, VolumetricProperties="VOLUME", VolumeBasedCalculationTechnique=technique)
        if "index" in frame:
            kind.ReconstructionIndex = frame["index"]
        groups.XRay3DFrameTypeSequence = [kind]
    return ds


@case("X-Ray 3D Angiographic (C-arm), oblique, geometry in the shared groups", handled=(("", 6),))
def x_ray_3d_angiographic() -> Sequence[Dataset]:
    frames = places(orientation=OBLIQUE)
    angiographic = XRay3DAngiographicImageStorage
    ds = x_ray_3d(noise(SHAPE), frames, sop_class=angiographic, orientation=OBLIQUE, shared=True)
    ds.Modality = "XA"
    return [ds]


@case("X-Ray 3D Craniofacial (dental), coronal, frames in no order", handled=(("", 6),))
def x_ray_3d_craniofacial() -> Sequence[Dataset]:
    frames = places(orientation=CORONAL)
    return [x_ray_3d(noise(SHAPE), [frames[i] for i in (3, 0, 5, 1, 4, 2)], orientation=CORONAL)]


@case(
    "X-Ray 3D: two reconstructions in one object (Reconstruction Index)",
    handled=(("reconstruction 1", 6), ("reconstruction 2", 6)),
)
def x_ray_3d_reconstructions() -> Sequence[Dataset]:
    return [x_ray_3d(noise((12, 24, 20)), [{**place, "index": index} for index in (1, 2) for place in places()])]


@case("X-Ray 3D: tomosynthesis by the technique of its frames", refused=("tomosynthesis",))
def x_ray_3d_tomosynthesis() -> Sequence[Dataset]:
    return [x_ray_3d(noise(SHAPE), places(), "TOMOSYNTHESIS")]


@case("Enhanced CT: a projection that only its technique names", handled=(("", 6),), set_aside=("projection",))
def enhanced_by_technique() -> Sequence[Dataset]:
    frames = [*places(), {"position": (0, 0, 0)}]
    ds = enhanced(noise((7, 24, 20)), frames, sop_class=EnhancedCTImageStorage, modality="CT")
    for index, groups in enumerate(ds.PerFrameFunctionalGroupsSequence):
        technique = "NONE" if index < 6 else "MAX_IP"
        groups.CTImageFrameTypeSequence = [
            item(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], VolumeBasedCalculationTechnique=technique)
        ]
    return [ds]


# What is no volume


@case("Breast tomosynthesis", refused=("tomosynthesis",))
def breast_tomosynthesis() -> Sequence[Dataset]:
    return [enhanced(noise(SHAPE), places(), sop_class=BreastTomosynthesisImageStorage, modality="MG")]


@case("Breast tomosynthesis stored as CT", refused=("tomosynthesis",))
def tomosynthesis_as_ct() -> Sequence[Dataset]:
    return stack(noise(SHAPE), ImageType=["DERIVED", "PRIMARY", "TOMOSYNTHESIS", "NONE"])


@case("Breast projection X-ray", refused=("unsupported-sop-class",))
def breast_projection() -> Sequence[Dataset]:
    projection = BreastProjectionXRayImageStorageForPresentation
    return [enhanced(noise(SHAPE), places(), sop_class=projection, modality="MG")]


@case("Computed radiography", refused=("unsupported-sop-class",))
def radiograph() -> Sequence[Dataset]:
    return stack(noise((2, 24, 20)), SOPClassUID=ComputedRadiographyImageStorage, Modality="CR")


@case("Ophthalmic tomography", refused=("unsupported-sop-class",))
def ophthalmic_tomography() -> Sequence[Dataset]:
    return [enhanced(noise(SHAPE), places(), sop_class=OphthalmicTomographyImageStorage, modality="OPT")]


# Maps


@case("Maps of metabolites over the slices of one MR series", handled=(("", 6),), set_aside=("metabolite-map",))
def metabolite_maps() -> Sequence[Dataset]:
    def maps(seed: int) -> list[Dataset]:
        words = ["DERIVED", "SECONDARY", "METABOLITE", "NONE"]
        return stack(noise(SHAPE, seed), ImageType=words, SOPClassUID=MRImageStorage, Modality="MR")

    slices = many(stack(noise(SHAPE), SOPClassUID=MRImageStorage, Modality="MR"), maps(1), maps(2))
    for ds in slices:
        ds.InstanceNumber = 1
    return slices


@case("Enhanced MR: a spectroscopy map among the frames", handled=(("", 6),), set_aside=("metabolite-map",))
def enhanced_metabolite_map() -> Sequence[Dataset]:
    ds = enhanced(noise((12, 24, 20)), [*places(), *places()])
    for index, groups in enumerate(ds.PerFrameFunctionalGroupsSequence):
        flavour = "T1" if index < 6 else "METABOLITE_MAP"
        groups.MRImageFrameTypeSequence = [item(FrameType=["DERIVED", "PRIMARY", flavour, "NONE"])]
        groups.MRMetaboliteMapSequence = [item(MetaboliteMapDescription="WATER")]  # Philips: of every frame
    return [ds]


@case("Enhanced MR Color", handled=(("", 6),), set_aside=("colour",))
def enhanced_mr_color() -> Sequence[Dataset]:
    return [*stack(noise(SHAPE)), other(EnhancedMRColorImageStorage)]


# Nuclear medicine


def nm(
    stored: npt.NDArray[Any],
    *,
    kind: str = "RECON TOMO",
    number: int = 1,
    position: Sequence[float] = (-10, -20, -30),
    orientation: Sequence[float] = AXIAL,
    **more: Any,
) -> Dataset:
    """Return one NM image (PS3.3 A.5), slices 2 mm apart along the normal; more: keywords to set, None to omit."""
    frames = len(stored)
    detector = item(
        ImagePositionPatient=[f"{value:.9g}" for value in position],
        ImageOrientationPatient=[f"{value:.9g}" for value in orientation],
    )
    gone = ("ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept", "PatientPosition")
    given: dict[str, Any] = {
        "SOPClassUID": NuclearMedicineImageStorage,
        "SOPInstanceUID": f"{UID}.7.{number}",
        "Modality": "NM",
        "ImageType": ["ORIGINAL", "PRIMARY", kind, "EMISSION"],
        "InstanceNumber": number,
        "NumberOfFrames": frames,
        "NumberOfSlices": frames,
        "FrameIncrementPointer": 0x00540080,
        "SliceVector": list(range(1, frames + 1)),
        "SpacingBetweenSlices": 2,
        "DetectorInformationSequence": [detector],
        "PixelData": stored.tobytes(),
        **dict.fromkeys(gone),
    }
    return make(stored[0], (0, 0, 0), **{**given, **more})


@case("NM: a reconstruction (SPECT)", handled=(("", 6),))
def nm_recon_tomo() -> Sequence[Dataset]:
    return [nm(noise(SHAPE), SliceLocation=-30)]


@case("NM: slices against the normal (Spacing Between Slices below 0), oblique", handled=(("", 6),))
def nm_negative() -> Sequence[Dataset]:
    return [nm(noise(SHAPE), orientation=OBLIQUE, SpacingBetweenSlices=-2)]


@case("NM: frames not in the order of the slices", handled=(("", 6),))
def nm_slice_vector() -> Sequence[Dataset]:
    return [nm(noise(SHAPE), orientation=SAGITTAL, SliceVector=[1, 4, 2, 6, 3, 5])]


@case("NM: two detectors, of one geometry", handled=(("", 6),))
def nm_two_detectors() -> Sequence[Dataset]:
    ds = nm(noise(SHAPE))
    ds.DetectorInformationSequence = [*ds.DetectorInformationSequence] * 2
    return [ds]


@case("NM: one object for each slice", handled=(("", 6),))
def nm_single_frames() -> Sequence[Dataset]:
    starts = np.array((-10, -20, -30)) - np.arange(6)[:, None] * 2 * normal_of(CORONAL)
    planes = noise(SHAPE)
    return [nm(planes[i : i + 1], number=i + 1, position=starts[i], orientation=CORONAL) for i in range(6)]


@case("NM: two reconstructions", handled=(("no. 1", 6), ("no. 2", 6)))
def nm_two_objects() -> Sequence[Dataset]:
    return [nm(noise(SHAPE)), nm(noise(SHAPE, 1), number=2)]


@case("NM: planar images", refused=("nuclear-medicine",))
def nm_static() -> Sequence[Dataset]:
    return [nm(noise(SHAPE), kind="STATIC", FrameIncrementPointer=[0x00540010, 0x00540020])]


@case("NM: projections, not yet reconstructed", refused=("nuclear-medicine",))
def nm_tomo() -> Sequence[Dataset]:
    pointers = [0x00540010, 0x00540020, 0x00540050, 0x00540090]
    return [nm(noise(SHAPE), kind="TOMO", FrameIncrementPointer=pointers)]


@case("NM: a reconstruction for each phase of the heart", refused=("nuclear-medicine",))
def nm_gated() -> Sequence[Dataset]:
    pointers = [0x00540060, 0x00540070, 0x00540080]
    return [nm(noise(SHAPE), kind="RECON GATED TOMO", FrameIncrementPointer=pointers)]


@case("NM: frames by more than the slice", refused=("nuclear-medicine",))
def nm_pointers() -> Sequence[Dataset]:
    return [nm(noise(SHAPE), FrameIncrementPointer=[0x00540010, 0x00540080])]


@case("NM: fewer slices than frames", refused=("frame-count",))
def nm_frame_count() -> Sequence[Dataset]:
    return [nm(noise(SHAPE), SliceVector=[1, 2, 3, 1, 2, 3], NumberOfSlices=3)]


@case("NM: the first frame shows another slice than the first", refused=("frame-count",))
def nm_first_frame() -> Sequence[Dataset]:
    return [nm(noise(SHAPE), SliceVector=[6, 5, 4, 3, 2, 1])]


@case("NM: no Spacing Between Slices, so no direction", refused=("missing-geometry",))
def nm_no_spacing() -> Sequence[Dataset]:
    return [nm(noise(SHAPE), SpacingBetweenSlices="")]


@case("NM: no position", refused=("missing-geometry",))
def nm_no_position() -> Sequence[Dataset]:
    return [nm(noise(SHAPE), DetectorInformationSequence=[])]


@case("NM: another position beside that of the detector", refused=("missing-geometry",))
def nm_two_positions() -> Sequence[Dataset]:
    return [nm(noise(SHAPE), ImagePositionPatient=[-10, -20, 30])]

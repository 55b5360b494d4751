"""highdicom and dcm2niix on every handled case: the same voxels as ours, wherever they accept it.

Where they do not, or differ, the reason stands here; and a test fails as soon as it holds no more.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import highdicom
import numpy as np
import numpy.typing as npt
import pydicom
import pytest

from tests.oracles.test_orientation_dcm2niix import oracle_volumes
from tests.series import multiframe_cases, strange_cases  # noqa: F401 - add their cases
from tests.series.cases import CASES, Case
from voxtell_dicom.model import Volume
from voxtell_dicom.series.headers import assemble
from voxtell_dicom.series.image import to_sitk
from voxtell_dicom.series.volume import to_ras

HANDLED = [case for case in CASES if case.handled]
UNEVEN = "takes no stack that is tilted, uneven, or not quite orthonormal"
SEVERAL = "takes one volume from an object"
ONE_OBJECT = "takes one multi-frame object only"
NM = ("nm-recon-tomo", "nm-negative", "nm-slice-vector", "nm-two-detectors", "nm-single-frames", "nm-two-objects")
HIGHDICOM = {
    **dict.fromkeys(
        (
            "gantry-tilt",
            "gantry-tilt-backwards",
            "tilted-directions",
            "oblique-tilt",
            "three-tilted-runs",
            "slice-between-runs",
            "jitter",
            "uneven",
            "rounded-cosines",
            "noisy-directions",
        ),
        UNEVEN,
    ),
    **dict.fromkeys(
        (
            "enhanced-4d",
            "enhanced-b-values",
            "enhanced-components",
            "enhanced-stacks",
            "enhanced-other-frames",
            "enhanced-respiratory",
            "enhanced-dimensions",
            "enhanced-labels",
            "enhanced-labels-philips",
            "enhanced-by-technique",
            "enhanced-metabolite-map",
            "x-ray-3d-reconstructions",
        ),
        SEVERAL,
    ),
    **dict.fromkeys(("enhanced-in-two-objects", "concatenation"), ONE_OBJECT),
    **dict.fromkeys(NM, "reads no NM image"),
    "no-rescale": "asks for a modality transform",
    "enhanced-top-level": "lets the rescale at the top level win over that of the frame (PS3.3 C.7.6.16.2.9)",
}
OTHER_FILES = "stops at objects beside the slices, or makes volumes of them"
BY_FRAME_ORDER = "takes frames in their order in the object, where there are no Dimension Index Values"
ONE_4D = "makes one volume of all frames"
RESLICES = "resamples a tilted stack"
DCM2NIIX = {
    **dict.fromkeys(
        (
            *("screen-capture", "dose-report", "document", "colour", "palette", "private-raw-data"),
            *("enhanced-mr-color", "enhanced-by-technique"),
        ),
        OTHER_FILES,
    ),
    **dict.fromkeys(("deflated", "jpeg-ls"), "decodes no such transfer syntax in Debian's build"),
    **dict.fromkeys(("enhanced-mr-shuffled", "x-ray-3d-craniofacial", "nm-slice-vector"), BY_FRAME_ORDER),
    "nm-negative": "takes Spacing Between Slices without its sign (rordenlab/dcm2niix, issue 885)",
    **dict.fromkeys(
        (
            "enhanced-4d",
            "enhanced-b-values",
            "enhanced-components",
            "enhanced-other-frames",
            "enhanced-respiratory",
            "enhanced-labels",
            "enhanced-labels-philips",
            "enhanced-metabolite-map",
            "x-ray-3d-reconstructions",
        ),
        ONE_4D,
    ),
    **dict.fromkeys(("enhanced-in-two-objects", "concatenation"), "makes one volume of each object"),
    **dict.fromkeys(
        ("gantry-tilt-backwards", "tilted-directions", "oblique-tilt", "three-tilted-runs", "slice-between-runs"),
        RESLICES,
    ),
    **dict.fromkeys(("two-spacings", "missing-slice-in-a-run"), "resamples to one spacing"),
    "noisy-directions": "makes a volume of each slice",
    "duplicate": "makes a volume of the surplus slice",
    "temporal-interrupted": "fails on time points of unequal length",
    **dict.fromkeys(
        ("overlapping-acquisitions", "alternating-acquisitions", "a-stack-in-each-reference"), "stacks what overlaps"
    ),
    "side-by-side": "ends in an error",
    "echo-per-slice": "splits by echo a stack that is one volume",
    "enhanced-pet": "applies the rescale of one frame to all",
    "enhanced-top-level": "lets the position at the top level win over that of the frame",
    "modality-lut": "applies no Modality LUT",
    "signed-12": "takes the 16 bits as they stand, without the sign of the 12 (PS3.5 8.1.1)",
}


@pytest.mark.parametrize("case", HANDLED, ids=lambda case: case.name)
def test_highdicom(case: Case, tmp_path: Path) -> None:
    outcomes = {_by_highdicom(volume) for volume in assemble(case.write(tmp_path)).volumes}
    assert (outcomes == {"same"}) == (case.name not in HIGHDICOM), (outcomes, HIGHDICOM.get(case.name))


def _by_highdicom(volume: Volume) -> str:
    datasets = [pydicom.dcmread(path) for path in dict.fromkeys(frame.path for frame in volume.frames)]
    options = {"apply_modality_transform": True, "apply_presentation_lut": False}
    try:
        if "PerFrameFunctionalGroupsSequence" in datasets[0]:
            theirs = highdicom.image.Image.from_dataset(datasets[0]).get_volume(**options)
        else:
            theirs = highdicom.get_volume_from_series(datasets, **options)
    except (ValueError, RuntimeError, AttributeError) as error:
        return f"refused: {error}"
    array = to_ras(volume)
    image = to_sitk(volume, array)
    for index in np.random.default_rng(1).integers(0, array.shape, (200, 3)):
        point = image.TransformIndexToPhysicalPoint([int(i) for i in index[::-1]])
        where = np.rint(theirs.map_reference_to_indices(np.array([point]))).astype(int)[0]
        inside = ((where >= 0) & (where < theirs.array.shape)).all()
        if not inside or not np.isclose(array[tuple(index)], theirs.array[tuple(where)], rtol=1e-6):
            return f"differs at {index}"
    return "same"


@pytest.mark.parametrize("case", HANDLED, ids=lambda case: case.name)
def test_dcm2niix(case: Case, tmp_path: Path) -> None:
    volumes = assemble(case.write(tmp_path / "series")).volumes
    try:
        theirs = oracle_volumes(tmp_path / "series", tmp_path / "nifti", "n")
    except subprocess.CalledProcessError:
        theirs = []
    same = all(any(_equal(to_ras(volume), other) for other in theirs) for volume in volumes)
    assert same == (case.name not in DCM2NIIX), ([other.shape for other in theirs], DCM2NIIX.get(case.name))


def _equal(ours: npt.NDArray[np.float32], theirs: npt.NDArray[np.float32]) -> bool:
    return ours.shape == theirs.shape and bool(np.allclose(ours, theirs, rtol=3e-7, atol=1e-4))


def test_what_is_explained_is_there() -> None:
    names = {case.name for case in HANDLED}
    assert names >= {*HIGHDICOM, *DCM2NIIX}

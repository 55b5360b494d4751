"""Cone beam CT and SPECT: every voxel lies where the standard puts it, in any direction and order of the slices."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.uid import XRay3DAngiographicImageStorage

from tests.series.modality_cases import OBLIQUE, nm, x_ray_3d
from tests.series.multiframe_cases import item
from tests.series.slices import AXIAL, CORONAL, SAGITTAL, normal_of, save
from tests.series.strange_cases import raw
from voxtell_dicom.dicom.functional_groups import frame_value
from voxtell_dicom.dicom.nuclear import planes_of
from voxtell_dicom.encode.report.values import quantity_of
from voxtell_dicom.errors import Refusal
from voxtell_dicom.series.headers import assemble, frames_of
from voxtell_dicom.series.image import to_sitk
from voxtell_dicom.series.volume import to_ras
from voxtell_dicom.verify.readback import source_position

PLANES = {"axial": AXIAL, "coronal": CORONAL, "sagittal": SAGITTAL, "oblique": OBLIQUE}
START = (-31.5, 12.25, 40.0)
SPACING = (3.3, 1.5, 1.2)  # between slices, rows, columns
SLOPES = np.array((17.0, 29.0, 41.0))  # of the ramp, per mm of x, y, z
SHAPE = (7, 12, 9)


def ramp(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(points @ SLOPES + 20000)


def made(kind: str, plane: str, direction: int) -> Dataset:
    """Return an object whose values are a ramp of the coordinates that PS3.3 C.7.6.2 and C.8.4.15 give each voxel."""
    orientation = PLANES[plane]
    along = normal_of(orientation) * SPACING[0] * direction
    starts = np.array(START) + np.arange(SHAPE[0])[:, None] * along
    rows, columns = np.indices(SHAPE[1:])[..., None]
    in_plane = columns * SPACING[2] * np.array(orientation[:3]) + rows * SPACING[1] * np.array(orientation[3:])
    stored = np.rint(ramp(starts[:, None, None] + in_plane)).astype(np.uint16)
    if kind == "nm":
        ds = nm(stored, position=START, orientation=orientation, SpacingBetweenSlices=direction * SPACING[0])
        ds.PixelSpacing = list(SPACING[1:])
    else:
        frames = [{"position": start} for start in starts]
        ds = x_ray_3d(stored, frames, sop_class=XRay3DAngiographicImageStorage, orientation=orientation)
        for groups in ds.PerFrameFunctionalGroupsSequence:
            groups.PixelMeasuresSequence[0].PixelSpacing = list(SPACING[1:])
            groups.PixelMeasuresSequence[0].SpacingBetweenSlices = SPACING[0]
            del groups.PixelValueTransformationSequence
    ds.BitsStored, ds.HighBit = 16, 15
    return ds


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("kind", ["nm", "x-ray-3d"])
def test_every_voxel_is_at_its_coordinates(kind: str, plane: str, direction: int, tmp_path: Path) -> None:
    (volume,) = assemble(save([made(kind, plane, direction)], tmp_path)).volumes
    assert not volume.warnings
    assert volume.grid.spacing_mm == pytest.approx(SPACING)
    array = to_ras(volume)
    image = to_sitk(volume, array)
    indices = [tuple(int(i) for i in index) for index in np.ndindex(*array.shape)]
    points = np.array([image.TransformIndexToPhysicalPoint(index[::-1]) for index in indices])
    np.testing.assert_allclose(array.reshape(-1), ramp(points), atol=0.51)
    for frame in volume.frames:  # by the other reader, too
        assert source_position(frame.path, frame.number) == pytest.approx(frame.position_mm, abs=1e-6)


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("plane", PLANES)
def test_simpleitk_places_nm_slices_so(plane: str, direction: int, tmp_path: Path) -> None:
    (volume,) = assemble(save([made("nm", plane, direction)], tmp_path)).volumes
    theirs = sitk.ReadImage(str(volume.frames[0].path), sitk.sitkFloat32)
    ours = to_sitk(volume, to_ras(volume))
    back = sitk.Resample(theirs, ours, sitk.Transform(), sitk.sitkNearestNeighbor, -1.0)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(ours))


def test_the_plane_of_a_frame_is_known_to_all_readers() -> None:
    ds = made("nm", "oblique", -1)
    expected = np.array(START) - 2 * SPACING[0] * normal_of(OBLIQUE)
    assert frame_value(ds, 3, "ImagePositionPatient") == pytest.approx(expected)
    assert frame_value(ds, 3, "ImageOrientationPatient") == pytest.approx(OBLIQUE)
    assert planes_of(ds, SHAPE[0] + 1) == []
    ds.SpacingBetweenSlices = ""
    assert frame_value(ds, 3, "ImagePositionPatient") is None


@pytest.mark.parametrize("value", [b"", b"0 ", b"2\\3 ", b"nan ", b"two ", b"1e9 "])
def test_without_one_number_between_slices_nothing_is_guessed(value: bytes) -> None:
    ds = made("nm", "axial", 1)
    raw(ds, "SpacingBetweenSlices", value)
    with pytest.raises(Refusal, match=r"Spacing Between Slices \(0018,0088\)") as refused:
        frames_of(ds, Path("x.dcm"))
    assert refused.value.code == "missing-geometry"


def test_a_second_detector_elsewhere_is_refused() -> None:
    ds = made("nm", "axial", 1)
    first = ds.DetectorInformationSequence[0]
    for keyword, value in (("ImagePositionPatient", [0, 0, 0]), ("ImageOrientationPatient", list(CORONAL))):
        second = copy.deepcopy(first)
        setattr(second, keyword, value)
        ds.DetectorInformationSequence = [first, second]
        with pytest.raises(Refusal, match="another item of Detector Information Sequence"):
            frames_of(ds, Path("x.dcm"))


def test_values_are_hounsfield_units_only_where_the_header_says_so() -> None:
    cone = made("x-ray-3d", "axial", 1)
    assert quantity_of("DX", cone) is None
    assert quantity_of("CT", cone) is not None  # absent in CT: HU (PS3.3 C.8.2.1)
    for rescale_type, modality, known in (("US", "CT", 0), ("HU", "CT", 1), ("HU", "XA", 1), ("HU_MOD", "CT", 0)):
        for groups in cone.PerFrameFunctionalGroupsSequence:
            groups.PixelValueTransformationSequence = [item(RescaleType=rescale_type)]
        assert bool(quantity_of(modality, cone)) == bool(known), (rescale_type, modality)
    assert quantity_of("NM", made("nm", "axial", 1)) is None
    table = Dataset()
    for lut_type, known in (("HU", 1), ("US", 0)):
        table.ModalityLUTSequence = [item(ModalityLUTType=lut_type)]
        assert bool(quantity_of("CT", table)) == bool(known)

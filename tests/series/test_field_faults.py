"""Series of other people's scanners: no frame of reference, counts of a whole acquisition, stacks at angles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from tests.encode import made
from tests.series import slices
from voxtell_dicom.encode.common.context import OutputContext
from voxtell_dicom.encode.rtstruct.structure_set import encode_rtstruct
from voxtell_dicom.encode.seg.segmentation import encode_seg
from voxtell_dicom.model import Series
from voxtell_dicom.series.headers import assemble
from voxtell_dicom.series.volume import load_volume


def codes(series: Series, **options: Any) -> list[str]:
    return [item.code for item in assemble(series, **options).set_aside]


def warnings_of(series: Series) -> list[str]:
    return [warning.partition(":")[0] for volume in assemble(series).volumes for warning in volume.warnings]


@pytest.mark.parametrize("reference", [None, ""])
def test_a_series_without_frame_of_reference_may_be_accepted(tmp_path: Path, reference: str | None) -> None:
    series = slices.save(slices.stack(slices.noise((6, 20, 24)), FrameOfReferenceUID=reference), tmp_path / "s")
    assert assemble(series).volumes == ()
    assert codes(series) == ["empty-uid"]
    assembly = assemble(series, frames_of_reference="accept")
    (volume,) = assembly.volumes
    assert not assembly.set_aside
    assert [warning.partition(":")[0] for warning in volume.warnings] == ["no-frame-of-reference"]
    assert volume.frame_of_reference_uid.startswith("2.25.")
    _, volume = load_volume(volume)
    plan = made.plan(["liver"])
    mask = np.zeros(volume.grid.shape, bool)
    mask[2:4, 5:9, 6:12] = True
    context = OutputContext(plan, volume, made.found(plan, [mask]), directory=tmp_path / "out")
    seg, structures = encode_seg(context), encode_rtstruct(context)
    assert seg is not None
    assert structures is not None
    assert pydicom.dcmread(seg.path).FrameOfReferenceUID == volume.frame_of_reference_uid
    ds = pydicom.dcmread(structures.path)
    assert ds.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID == volume.frame_of_reference_uid
    assert ds.StructureSetROISequence[0].ReferencedFrameOfReferenceUID == volume.frame_of_reference_uid


def test_a_made_frame_of_reference_is_that_of_its_series_alone(tmp_path: Path) -> None:
    found = []
    for number in (1, 2, 1):
        uid = f"{slices.UID}.9.{number}"
        datasets = slices.stack(slices.noise((4, 8, 8)), FrameOfReferenceUID=None, SeriesInstanceUID=uid)
        (volume,) = assemble(slices.save(datasets, tmp_path / str(len(found))), frames_of_reference="accept").volumes
        found.append(volume.frame_of_reference_uid)
    assert found[0] == found[2] != found[1]


def test_slices_without_frame_of_reference_among_others_are_refused(tmp_path: Path) -> None:
    datasets = slices.stack(slices.noise((6, 8, 8)))
    for ds in datasets[4:]:
        ds.FrameOfReferenceUID = ""
    series = slices.save(datasets, tmp_path)
    for options in ({}, {"frames_of_reference": "accept"}):
        assert codes(series, **options) == ["empty-uid"]
        (volume,) = assemble(series, **options).volumes
        assert (len(volume.frames), volume.frame_of_reference_uid) == (4, f"{slices.UID}.3")


def diffusion(volumes: int, images: int, drop: int = 0) -> list[pydicom.Dataset]:
    """Slices of several b-values; Images in Acquisition counts all of them."""
    found = []
    for number in range(volumes):
        more = {"DiffusionBValue": float(500 * number), "Modality": "MR", "ImagesInAcquisition": images}
        found += slices.stack(slices.noise((5, 8, 8), number), **more)
    return found[: len(found) - drop]


def test_images_in_acquisition_count_all_volumes_of_a_series(tmp_path: Path) -> None:
    assert "fewer-images" not in warnings_of(slices.save(diffusion(3, 15), tmp_path / "whole"))
    assert warnings_of(slices.save(diffusion(3, 16), tmp_path / "fewer")).count("fewer-images") == 3


def test_stacks_at_angles_may_have_different_numbers_of_slices(tmp_path: Path) -> None:
    """As those of a spine, planned disc by disc."""
    datasets = []
    for number, (degrees, count) in enumerate(((0.0, 5), (12.0, 4), (-9.0, 6))):
        angle = np.radians(degrees)
        orientation = (1.0, 0.0, 0.0, 0.0, float(np.cos(angle)), float(np.sin(angle)))
        datasets += slices.stack(
            slices.noise((count, 8, 8), number), orientation=orientation, origin=(0.0, 0.0, -80.0 * number)
        )
    series = slices.save(datasets, tmp_path)
    assert sorted(len(volume.frames) for volume in assemble(series).volumes) == [4, 5, 6]
    assert "fewer-slices" not in warnings_of(series)


def test_a_volume_that_stopped_short_is_told(tmp_path: Path) -> None:
    assert "fewer-slices" in warnings_of(slices.save(diffusion(3, 0, drop=1), tmp_path))


@pytest.mark.parametrize("thickness", [None, 5.0])
@pytest.mark.parametrize("depths", [(0, 5, 10, 20, 30, 40), (0, 10, 20, 30, 35, 40), (0, 5, 10, 25, 30, 40)])
def test_gaps_that_are_whole_multiples_are_missing_slices(
    tmp_path: Path, depths: tuple[int, ...], thickness: float | None
) -> None:
    datasets = slices.stack(slices.noise((len(depths), 8, 8)))
    for ds, depth in zip(datasets, depths, strict=True):
        ds.ImagePositionPatient, ds.SliceThickness = [0, 0, depth], thickness
    assert codes(slices.save(datasets, tmp_path)) == ["missing-slice"]

"""Turned ellipsoids, scanned in every plane: what the report says against what geometry says.

The whole way: a scan on disk, masks of the analytic shape, SEG, SR, and the numbers as highdicom reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest

from tests.encode import made, structures
from tests.series.slices import series_in
from voxtell_dicom.encode import OutputContext, encode_seg
from voxtell_dicom.encode.report.sr import encode_sr
from voxtell_dicom.encode.rtstruct.structure_set import encode_rtstruct
from voxtell_dicom.model import Found, Mask, Volume
from voxtell_dicom.phantom.acquisition import Acquisition
from voxtell_dicom.phantom.anatomy import Anatomy, Organ
from voxtell_dicom.phantom.shapes import Ellipsoid, Lattice, rotation
from voxtell_dicom.phantom.writer import write_series
from voxtell_dicom.series.headers import assemble

HU, NOISE = 140.0, 9.0
BODY = Ellipsoid((3.3, -4.1, 7.7), (46.0, 38.0, 34.0))
LESION = Ellipsoid((1.2, -2.6, 6.1), (29.0, 17.0, 21.0), (25.0, -38.0, 52.0))
SHAPE = (76, 88, 96)
ONE_MM = {"shape": SHAPE, "slice_spacing_mm": 1.0, "pixel_spacing_mm": (1.0, 1.0)}
SCANS = {
    "axial": Acquisition(**ONE_MM),
    "sagittal": Acquisition(plane="sagittal", **ONE_MM),
    "coronal": Acquisition(plane="coronal", descending=True, **ONE_MM),
    "oblique": Acquisition(turn_deg=(12.0, -17.0, 8.0), **ONE_MM),
    "anisotropic": Acquisition(shape=(44, 80, 130), slice_spacing_mm=2.0, pixel_spacing_mm=(1.1, 0.7)),
}


@dataclass(frozen=True)
class Geometry:
    """What an ellipsoid is, in a stack of planes."""

    volume_ml: float
    long_mm: float
    short_mm: float
    extent_mm: float


def geometry(solid: Ellipsoid, acquisition: Acquisition) -> Geometry:
    """From the quadratic form xᵀ A x = 1: parallel sections are similar ellipses, the central one is the largest."""
    turn = rotation(solid.turn_deg)
    form = turn @ np.diag(1 / np.square(solid.semi_mm)) @ turn.T
    normal, row, column = acquisition.directions()
    plane = np.stack([row, column], axis=1)
    in_plane = np.linalg.eigvalsh(plane.T @ form @ plane)
    return Geometry(
        volume_ml=float(4 / 3 * np.pi * np.prod(solid.semi_mm) / 1000),
        long_mm=float(2 / np.sqrt(in_plane[0])),
        short_mm=float(2 / np.sqrt(in_plane[1])),
        extent_mm=float(2 * np.sqrt(normal @ np.linalg.inv(form) @ normal)),
    )


def surface_mm2(solid: Ellipsoid) -> float:
    """By quadrature over the unit sphere, of the area that each piece of it becomes."""
    a, b, c = solid.semi_mm
    theta, phi = (np.arange(2000) + 0.5) * np.pi / 2000, (np.arange(2000) + 0.5) * 2 * np.pi / 2000
    t, p = np.meshgrid(theta, phi, indexing="ij")
    x, y, z = b * c * np.sin(t) * np.cos(p), a * c * np.sin(t) * np.sin(p), a * b * np.cos(t)
    return float((np.sqrt(x**2 + y**2 + z**2) * np.sin(t)).sum() * (np.pi / 2000) * (2 * np.pi / 2000))


def scanned(name: str, folder: Path) -> tuple[Volume, Found]:
    hu = {"air": -1000.0, "skin": 10.0, "lesion": HU}
    tissues = dict.fromkeys(("muscle", "fat", "left lung", "right lung", "bowel", "spleen", "liver"), 0.0)
    tissues |= dict.fromkeys(("left kidney", "right kidney", "aorta", "spine", "bladder"), 0.0)
    anatomy = Anatomy(3, (Organ("skin", BODY), Organ("lesion", LESION)), tissues | hu, NOISE)
    write_series(anatomy, SCANS[name], folder)
    (volume,) = assemble(series_in(folder)).volumes
    mask = anatomy.mask("liver lesion", Lattice.of_volume(volume))
    plan = made.plan(["liver lesion"])
    return volume, Found(plan.prompts[0], Mask.from_array(mask))


@pytest.mark.parametrize("name", SCANS)
def test_the_report_says_what_geometry_says(name: str, tmp_path: Path) -> None:
    volume, found = scanned(name, tmp_path / "scan")
    plan = made.plan(["liver lesion"])
    seg = encode_seg(OutputContext(plan, volume, [found], directory=tmp_path))
    assert seg is not None
    sr = encode_sr(OutputContext(plan, volume, [found], directory=tmp_path), [seg])
    (group,) = highdicom.sr.srread(sr.path).content.get_volumetric_roi_measurement_groups()
    values = {(m.name.value, m.derivation.value if m.derivation else ""): m.value for m in group.get_measurements()}

    true = geometry(LESION, SCANS[name])
    between, down, along = SCANS[name].slice_spacing_mm, *SCANS[name].pixel_spacing_mm
    counted = sum(np.count_nonzero(frame) for frame in made.decoded(seg.path, volume)[1])
    assert values["118565006", ""] == pytest.approx(counted * between * down * along / 1000, rel=6e-4)  # to four digits
    assert values["118565006", ""] == pytest.approx(true.volume_ml, rel=0.005)
    assert values["103339001", ""] == pytest.approx(true.long_mm, abs=max(down, along))
    assert values["103340004", ""] == pytest.approx(true.short_mm, abs=max(down, along))
    # Crofton's counts, half a dozen per cent off where voxels are three times as long as wide
    assert values["SURFACE_AREA", ""] == pytest.approx(
        surface_mm2(LESION), rel=0.01 if between == down == along else 0.1
    )
    filled = [frame.any() for frame in made.decoded(seg.path, volume)[1]]
    assert values["SLICES", ""] == sum(filled) == pytest.approx(true.extent_mm / between, abs=2)
    # a plane this near to a tip may hit no voxel centre
    assert values["STACK_EXTENT", ""] == pytest.approx(true.extent_mm, abs=2 * between)

    error = NOISE / np.sqrt(counted)
    assert values["112031", "373098007"] == pytest.approx(HU, abs=5 * error + 0.01)
    assert values["112031", "386136009"] == pytest.approx(np.hypot(NOISE, 12**-0.5), rel=0.02)  # and rounding
    assert values["GPMT", ""] == pytest.approx(HU - 1.2816 * NOISE, abs=1)
    assert values["OZ0C", ""] == pytest.approx(HU + 1.2816 * NOISE, abs=1)


@pytest.mark.parametrize("name", ["axial", "oblique", "anisotropic"])
def test_contours_lie_on_the_surface(name: str, tmp_path: Path) -> None:
    """Volume between the contours within 1 %, 95 % of their points within one pixel of the analytic surface."""
    volume, found = scanned(name, tmp_path / "scan")
    result = encode_rtstruct(OutputContext(made.plan(["liver lesion"]), volume, [found], directory=tmp_path))
    assert result is not None
    images = {frame.sop_instance_uid: pydicom.dcmread(frame.path, stop_before_pixels=True) for frame in volume.frames}
    between, down, along = SCANS[name].slice_spacing_mm, *SCANS[name].pixel_spacing_mm
    turn = rotation(LESION.turn_deg)
    enclosed, distances = 0.0, []
    for contour in pydicom.dcmread(result.path).ROIContourSequence[0].ContourSequence:
        points = np.array(contour.ContourData, float).reshape(-1, 3)
        x, y = structures.to_pixels(points, images[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]).T
        enclosed += abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2 * down * along * between
        local = (points - np.array(LESION.center_mm)) @ turn
        level = np.sqrt((np.square(local) / np.square(LESION.semi_mm)).sum(axis=1))
        slope = np.linalg.norm(local / np.square(LESION.semi_mm), axis=1) / level
        distances.append(np.abs(level - 1) / slope)  # of first order
    assert enclosed / 1000 == pytest.approx(geometry(LESION, SCANS[name]).volume_ml, rel=0.01)
    assert np.percentile(np.concatenate(distances), 95) <= min(down, along)

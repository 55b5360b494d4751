"""Every result of a stack of several spacings: frames of all runs in order, each on its true position."""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.uid import PositronEmissionTomographyImageStorage

from tests.encode import made, structures
from tests.encode.test_analytic_measurements import BODY, HU, LESION, NOISE, geometry
from tests.encode.test_encode import CONFIG
from tests.encode.test_labelmap import labels
from tests.series import cases, slices, stacks
from voxtell_dicom.check.selfcheck import centre_mm, self_check
from voxtell_dicom.dicom.headers import HeaderSource
from voxtell_dicom.encode import encode, output_context
from voxtell_dicom.encode.capture.scene import read_scene, scene_of
from voxtell_dicom.encode.common.frame_values import FrameValues
from voxtell_dicom.encode.common.provenance import maker_of
from voxtell_dicom.encode.common.spacing import MOST_PLANES, common_step_mm
from voxtell_dicom.encode.common.words import named_volume
from voxtell_dicom.encode.receipt.receipt import statement_of
from voxtell_dicom.encode.report.measure import measure
from voxtell_dicom.encode.report.values import Quantity
from voxtell_dicom.model import Mask, Volume
from voxtell_dicom.phantom.acquisition import Acquisition
from voxtell_dicom.phantom.anatomy import Anatomy, Organ, torso
from voxtell_dicom.phantom.truth import truth_mask
from voxtell_dicom.series.headers import assemble
from voxtell_dicom.series.joined import joined
from voxtell_dicom.terms.colors import colors_of
from voxtell_dicom.terms.terminology import Code

ALL = ("seg", "sr", "rtstruct", "labelmap", "secondary", "overlay")
LABELS = ("liver", "spleen", "right kidney", "left kidney", "urinary bladder")
FINE = {"slice_spacing_mm": 3.0, "pixel_spacing_mm": (6.0, 6.0)}
STACKS = {  # frames of a scan of 3 mm
    "two": (Acquisition(**FINE), stacks.steps((22, 2), (18, 3))),
    "wide first": (Acquisition(**FINE), stacks.steps((18, 3), (22, 2))),
    "three, descending": (Acquisition(descending=True, **FINE), stacks.steps((12, 3), (25, 1), (18, 2))),
    "oblique": (Acquisition(turn_deg=(12.0, -17.0, 8.0), **FINE), stacks.steps((16, 3), (20, 1), (15, 4))),
    "coronal": (Acquisition(plane="coronal", **FINE), stacks.steps((18, 2), (12, 3))),
    "tilted": (Acquisition(tilt_deg=18.0, **FINE), stacks.steps((18, 3), (18, 2), (7, 5))),
}


@pytest.mark.parametrize("name", STACKS)
def test_every_reader_finds_the_anatomy_where_it_is(name: str, tmp_path: Path) -> None:
    anatomy = torso(5)
    acquisition, frames = STACKS[name]
    paths = stacks.write_stack(anatomy, acquisition, frames, tmp_path / "series")
    volume = stacks.joined_stack(tmp_path / "series")
    order = {str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID): path for path in paths}
    assert set(order) == {frame.sop_instance_uid for frame in volume.frames}
    truth = [truth_mask(anatomy, label, volume) for label in LABELS]
    plan = made.plan(LABELS, volume_key=volume.key, outputs=ALL)
    found = made.found(plan, truth)
    every = encode(output_context(plan, volume, found, config=CONFIG, directory=tmp_path / "out"), CONFIG)
    results = {one.kind: one for one in every}
    assert set(results) == set(ALL)
    for kind in ("seg", "sr", "rtstruct", "secondary", "overlay"):  # dciodvfy does not know label maps
        assert made.dciodvfy(results[kind].path) == [], kind

    decoded = made.decoded(results["seg"].path, volume)  # positions, too
    for number, true in enumerate(truth, 1):
        np.testing.assert_array_equal(decoded[number], true)
    seg = pydicom.dcmread(results["seg"].path)
    _order_of_frames(seg, volume)
    if name != "tilted":  # dcmqi drops the shear
        expected = [made.true_points(true, volume) for true in truth]
        assert made.dcmqi_points(results["seg"].path, tmp_path / "dcmqi") == expected
        assert made.dcmqi_points(results["labelmap"].path, tmp_path / "dcmqi-labelmap") == expected

    theirs = highdicom.seg.segread(results["seg"].path).get_pixels_by_source_instance(
        [frame.sop_instance_uid for frame in volume.frames],
        combine_segments=False,
        assert_missing_frames_are_empty=True,
    )
    np.testing.assert_array_equal(np.moveaxis(theirs, -1, 0), truth)

    number = labels(results["labelmap"].path, volume)
    np.testing.assert_array_equal([number == one for one in range(1, len(LABELS) + 1)], truth)
    drawn = structures.rasterised(
        results["rtstruct"].path, [(frame.path, frame.number) for frame in volume.frames], volume.grid.shape
    )
    np.testing.assert_array_equal(list(drawn.values()), truth)
    structures.assert_outlined(
        [one.path for one in every if one.kind == "overlay"],
        [(frame.path, frame.number) for frame in volume.frames],
        truth,
        colors_of(plan.prompts),
    )
    assert not [one for one in self_check(found, volume, midline_mm=0.0) if one.kind in ("laterality", "pair", "empty")]


def _order_of_frames(seg: pydicom.Dataset, volume: Volume) -> None:
    """Segment by segment along the normal; dimension indices count the positions; one grid for all frames."""
    (measures,) = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert float(measures.SpacingBetweenSlices) == pytest.approx(common_step_mm(volume))
    assert [float(v) for v in measures.PixelSpacing] == pytest.approx(volume.grid.spacing_mm[1:])
    assert float(measures.SliceThickness) == pytest.approx(min(run.grid.spacing_mm[0] for run in volume.runs))
    last = (0, -np.inf)
    places: dict[int, float] = {}
    for groups in seg.PerFrameFunctionalGroupsSequence:
        assert "PixelMeasuresSequence" not in groups
        depth = float(np.dot(groups.PlanePositionSequence[0].ImagePositionPatient, volume.grid.normal))
        segment, place = groups.FrameContentSequence[0].DimensionIndexValues
        assert (segment, depth) > last
        assert places.setdefault(place, depth) == depth
        last = (segment, depth)
    assert [places[one] for one in sorted(places)] == sorted(places.values())


@pytest.mark.parametrize(
    "frames",
    [stacks.steps((24, 1), (12, 4)), stacks.steps((7, 5), (20, 2)), stacks.steps((12, 2), (20, 1), (6, 5))],
    ids=["two", "wide first", "three"],
)
def test_the_report_says_what_geometry_says(frames: list[int], tmp_path: Path) -> None:
    """Volume, diameters, attenuation of an analytic ellipsoid across the place where the runs meet."""
    hu = dict.fromkeys(("muscle", "fat", "left lung", "right lung", "bowel", "spleen", "liver"), 0.0)
    hu |= dict.fromkeys(("left kidney", "right kidney", "aorta", "spine", "bladder"), 0.0)
    hu |= {"air": -1000.0, "skin": 10.0, "lesion": HU}
    anatomy = Anatomy(3, (Organ("skin", BODY), Organ("lesion", LESION)), hu, NOISE)
    scan = Acquisition(shape=(76, 88, 96), slice_spacing_mm=1.0, pixel_spacing_mm=(1.0, 1.0))
    stacks.write_stack(anatomy, scan, frames, tmp_path / "series")
    volume = stacks.joined_stack(tmp_path / "series")
    mask = truth_mask(anatomy, "liver lesion", volume)
    assert not mask[[0, -1]].any()
    plan = made.plan(["liver lesion"], outputs=("sr",))
    found = made.found(plan, [mask])
    _, sr = encode(output_context(plan, volume, found, config=CONFIG, directory=tmp_path), CONFIG)
    (group,) = highdicom.sr.srread(sr.path).content.get_volumetric_roi_measurement_groups()
    values = {(m.name.value, m.derivation.value if m.derivation else ""): m.value for m in group.get_measurements()}
    true = geometry(LESION, scan)
    assert values["118565006", ""] == pytest.approx(true.volume_ml, rel=0.01)
    assert values["103339001", ""] == pytest.approx(true.long_mm, abs=2)
    assert values["103340004", ""] == pytest.approx(true.short_mm, abs=2)
    assert values["STACK_EXTENT", ""] == pytest.approx(true.extent_mm, abs=5)
    assert values["112031", "373098007"] == pytest.approx(HU, abs=0.3)
    ml = named_volume("found", volume.millilitres(found[0].mask)).removeprefix("found, ")
    assert float(ml.split()[0]) == values["118565006", ""], "page and report say the same"
    header = pydicom.dcmread(volume.frames[0].path, stop_before_pixels=True)
    lines = statement_of(plan, maker_of(plan), volume, found, header).lines
    assert any(line.endswith(f"found, {ml}") for line in lines)
    spacings = " and ".join(f"{run.grid.spacing_mm[0]:.2f}" for run in volume.runs)
    assert f"Images      {len(frames)} CT, {spacings} mm apart" in lines
    assert any(line.startswith("! runs: the spacing changes along the stack") for line in lines)
    assert centre_mm(found[0].mask, volume) == pytest.approx(LESION.center_mm, abs=0.4)


def test_the_peak_of_a_pet_is_a_sphere_across_the_runs(tmp_path: Path) -> None:
    more = {"SOPClassUID": PositronEmissionTomographyImageStorage, "Modality": "PT"}
    stored = np.full((12, 24, 20), 100, np.uint16)
    stored[5, 12, 10] = 1000  # the last of the first run: 2 mm apart, then 3, then 5
    lower = slices.stack(stored[:6], RescaleIntercept=0, **more)
    upper = slices.stack(stored[6:], spacing=(5.0, 1, 1), origin=(-10, -20, -17), RescaleIntercept=0, **more)
    slices.save(cases.many(lower, upper), tmp_path)
    volume = stacks.joined_stack(tmp_path)
    mask = np.zeros(stored.shape, bool)
    mask[6, 12, 10] = True  # the first of the second run, within reach of that
    quantity = Quantity(Code("126401", "DCM", "SUVbw"), Code("g/ml", "UCUM", "g/ml"))
    (measured,) = measure([Mask.from_array(mask)], volume, quantity)
    depths = np.array([-30, -28, -26, -24, -22, -20, -17, -12, -7, -2, 3, 8]) + 17.0
    z, y, x = np.meshgrid(depths, np.arange(24) - 12.0, np.arange(20) - 10.0, indexing="ij")
    inside = z**2 + y**2 + x**2 <= 6.2**2
    assert measured.intensity is not None
    assert measured.intensity.peak == pytest.approx(stored[inside].mean())


def test_the_picture_keeps_its_shape(tmp_path: Path) -> None:
    volume = joined(cases_volumes(tmp_path))
    plan = made.plan(["liver"])
    mask = np.zeros(volume.grid.shape, bool)
    mask[5:7, 4:9, 3:7] = True  # one frame of each run
    (seg,) = encode(output_context(plan, volume, made.found(plan, [mask]), config=CONFIG, directory=tmp_path), CONFIG)
    for scene in (
        scene_of(FrameValues(volume, HeaderSource()), made.found(plan, [mask]), ""),
        read_scene(seg.path, tmp_path / "series"),
    ):
        assert scene.steps_mm[0] == pytest.approx((0, 0, 2))  # from -30 to 8 mm
        assert scene.values.shape == (20, 24, 20)
        (shown,) = scene.masks
        assert shown.box == ((5, 8), (4, 9), (3, 7))  # at -20, -18 and -16 mm: of the frames at -20 and -17


def cases_volumes(folder: Path) -> list[Volume]:
    case = next(case for case in cases.CASES if case.name == "two-spacings")
    return list(assemble(case.write(folder / "series")).volumes)


def test_a_grid_for_readers_that_need_one(tmp_path: Path) -> None:
    """Each frame lies on a plane of its own; exactly where the grid is not too fine for it."""
    for gaps, step in (
        ((2, 2, 2, 3, 5, 5, 5), 1.0),
        ((7, 7, 7, 4, 4, 4), 1.0),
        ((0.7, 0.7, 0.9, 1.3, 1.3), 0.1),
        ((4, 4, 4, 1.08, 7, 7, 7), None),
        ((4.0001, 4.0001, 3.3333, 1.2345, 1.2345) * 40, None),
    ):
        depths = np.cumsum([0, *gaps])
        made_of = slices.stack(slices.noise((len(depths), 4, 4)))
        for ds, depth in zip(made_of, depths, strict=True):
            ds.ImagePositionPatient = [0, 0, f"{depth:g}"]
        frames = [
            made.Frame(ds.SOPInstanceUID, "", 1, tmp_path, (0, 0, float(depth)))
            for ds, depth in zip(made_of, depths, strict=True)
        ]
        grid = made.Grid((len(depths), 4, 4), (0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1))
        volume = Volume("", "", "", "CT", "", tuple(frames), grid, made.ToRas((0, 1, 2), (False,) * 3), "")
        found = common_step_mm(volume)
        planes = np.rint(depths / found)
        assert len(set(planes)) == len(depths)
        assert planes[-1] <= max(MOST_PLANES, depths[-1] / min(gaps) + 1)
        if step:
            assert found == pytest.approx(step)
        else:
            assert np.abs(planes * found - depths).max() <= min(gaps) / 2

"""Contours that contain exactly the mask's voxel centres, and a structure set that other programs accept."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.path import Path as Polygon

from tests.encode import made
from voxtell_dicom.config import Config, Peer, Rule
from voxtell_dicom.encode import OutputContext, encode, encode_instead, output_context
from voxtell_dicom.encode.rtstruct.contours import Rings, keyholed, rings
from voxtell_dicom.encode.rtstruct.structure_set import HOLES, encode_rtstruct
from voxtell_dicom.line.plan import plan_for
from voxtell_dicom.model import PlanOptions, Prompt
from voxtell_dicom.rules import match_volume


def rasterised(contours: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Even-odd fill by voxel centres. A keyhole's channel counts twice, so it does not matter."""
    rows, columns = np.indices(shape)
    centres = np.stack([rows.ravel(), columns.ravel()], 1).astype(float)
    inside = np.zeros(len(centres), bool)
    for ring in contours:
        x, y = ring[:, 0], ring[:, 1]
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            crosses = (y0 > centres[:, 1]) != (y1 > centres[:, 1])
            if y0 != y1:
                inside ^= crosses & (centres[:, 0] < (x1 - x0) * (centres[:, 1] - y0) / (y1 - y0) + x0)
        assert len(x) == len(y) >= 3
    return inside.reshape(shape)


def each(found: Rings) -> list[np.ndarray]:
    return [found.ring(number) for number in range(len(found))]


@settings(max_examples=200, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_contours_contain_exactly_the_mask(frame: np.ndarray) -> None:
    apart = rings(frame)
    assert np.array_equal(rasterised(each(apart), frame.shape), frame)
    joined = keyholed(apart)
    assert np.array_equal(rasterised(each(joined), frame.shape), frame)
    assert len(joined) == len(apart) - apart.holes
    assert joined.holes == 0


@settings(max_examples=50, deadline=None)
@given(arrays(bool, st.just((16, 17)), elements=st.sampled_from([True, True, True, False])))
def test_many_holes(frame: np.ndarray) -> None:
    assert np.array_equal(rasterised(each(keyholed(rings(frame))), frame.shape), frame)


def test_holes_within_holes() -> None:
    frame = np.zeros((30, 30), bool)
    frame[2:28, 2:28] = True
    frame[5:12, 5:12] = frame[15:25, 5:25] = False
    frame[17:23, 10:20] = True
    frame[19:21, 12:15] = False
    assert sorted(np.diff(rings(frame).shapes)) == [2, 3]
    contours = each(keyholed(rings(frame)))
    assert len(contours) == 2
    assert np.array_equal(rasterised(contours, frame.shape), frame)
    # another program's idea of a point in a polygon
    lattice = np.stack(np.indices(frame.shape), -1).reshape(-1, 2)
    inside = sum(Polygon(ring).contains_points(lattice).astype(int) for ring in contours)
    assert np.array_equal(np.reshape(inside, frame.shape) > 0, frame)


C, S = np.cos(np.deg2rad(25)), np.sin(np.deg2rad(25))
PLANES = {
    "axial": ((1, 0, 0), (0, 1, 0)),
    "coronal": ((1, 0, 0), (0, 0, -1)),
    "oblique": ((C, S, 0), (-S * C, C * C, S)),
}
XOR_UNKNOWN = "Error - Unrecognized enumerated value <CLOSEDPLANAR_XOR>"  # of 2020 (CP-1906), newer than this dciodvfy


def strange_masks(shape: tuple[int, int, int]) -> list[np.ndarray]:
    """Noise with holes; single voxels, lines and corners of one pixel; a ring in a ring, at the edge."""
    noise, thin, nested = made.masks(shape, 1)[0], np.zeros(shape, bool), np.zeros(shape, bool)
    thin[0, 0, 0] = thin[0, -1, -1] = thin[1, 3] = thin[2, :, 5] = thin[3, 2:4, 2] = thin[5, 7, 8] = True
    thin[4][np.arange(20), np.arange(20)] = True  # a diagonal, voxels that touch by their corners
    nested[1:4] = True
    nested[1:4, 3:17, 3:20] = False
    nested[1:4, 6:13, 6:15] = True
    nested[1:4, 8:10, 8:10] = False
    return [noise, thin, nested]


@pytest.mark.parametrize("holes", HOLES)
@pytest.mark.parametrize("plane", PLANES)
def test_the_structure_set_gives_back_the_masks(tmp_path: Path, plane: str, holes: str) -> None:
    row, column = PLANES[plane]
    volume = made.volume(tmp_path / "s", row=row, column=column, shear_mm=(0.3, 0, 0))
    prompts = [Prompt("liver", "Liver"), Prompt("nothing", "Nothing"), Prompt("a " * 90, "b" * 64), Prompt("c", "C")]
    plan = made.plan([], prompts=prompts, options=PlanOptions(holes=holes))
    masks = strange_masks(volume.grid.shape)
    masks.insert(1, np.zeros_like(masks[0]))
    result = encode_rtstruct(OutputContext(plan, volume, made.found(plan, masks), directory=tmp_path))
    assert result is not None
    assert (result.labels, result.empty) == (("Liver", "b" * 64, "C"), ("Nothing",))
    assert {line for line in made.dciodvfy(result.path) if not line.startswith(XOR_UNKNOWN)} == set()
    ds = pydicom.dcmread(result.path)
    assert ds.ApprovalStatus == "UNAPPROVED"
    assert len(ds.StructureSetLabel) <= 16
    assert ds.StructureSetDescription == HOLES[holes]
    assert [str(roi.ROIDescription).splitlines()[1:] for roi in ds.StructureSetROISequence] == [
        [HOLES[holes]],
        [],  # it has none
        [HOLES[holes]],
    ]
    assert len({tuple(item.ROIDisplayColor) for item in ds.ROIContourSequence}) == 3
    place = {frame.sop_instance_uid: index for index, frame in enumerate(volume.frames)}
    for roi, mask in zip(ds.ROIContourSequence, (masks[0], masks[2], masks[3]), strict=True):
        read = np.zeros(mask.shape, bool)
        kinds = {contour.ContourGeometricType for contour in roi.ContourSequence}
        assert kinds == {"CLOSEDPLANAR_XOR" if holes == "xor" and mask is not masks[2] else "CLOSED_PLANAR"}
        for contour in roi.ContourSequence:
            assert contour.NumberOfContourPoints == len(contour.ContourData) // 3 >= 4
            assert all(len(str(value)) <= 16 for value in contour.ContourData)
            index = place[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
            points = np.array(contour.ContourData, float).reshape(-1, 3) - volume.frames[index].position_mm
            assert np.allclose(points @ np.cross(row, column), 0, atol=1e-3)
            pixels = np.stack(
                [points @ column / volume.grid.spacing_mm[1], points @ row / volume.grid.spacing_mm[2]], 1
            )
            inside = rasterised([pixels], mask.shape[1:])  # type: ignore[arg-type]
            if holes == "keyhole":  # nothing is ever taken away: contours may be joined as well
                assert not (read[index] & inside).any()
            read[index] ^= inside
        assert np.array_equal(read, mask)
    data = result.path.read_bytes()
    assert encode_rtstruct(OutputContext(plan, volume, made.found(plan, masks), directory=tmp_path)) == result
    assert result.path.read_bytes() == data


def test_the_rule_names_the_method(tmp_path: Path) -> None:
    rule = {"name": "r", "when": {"Modality": "CT"}, "prompts": ["liver"], "outputs": ["rtstruct"]}
    volume = made.volume(tmp_path / "s")
    for holes in ("", *HOLES):
        wanted = Rule.model_validate({**rule, "holes": holes} if holes else rule)
        (match,) = match_volume([wanted], volume, [], {})
        plan = plan_for(match, volume, made.MODEL, "1", PlanOptions())
        found = made.found(plan, strange_masks(volume.grid.shape)[:1])
        result = encode_rtstruct(OutputContext(plan, volume, found, directory=tmp_path))
        assert result is not None
        assert pydicom.dcmread(result.path).StructureSetDescription == HOLES[holes or "keyhole"]


def test_another_method_of_a_peer_makes_another_object(tmp_path: Path) -> None:
    volume = made.volume(tmp_path / "s")
    plan = made.plan(["liver"])
    found = made.found(plan, strange_masks(volume.grid.shape)[:1])
    made_ = {
        holes: encode_rtstruct(OutputContext(plan, volume, found, directory=tmp_path), holes=holes)
        for holes in ("", *HOLES)
    }
    assert made_[""] == made_["keyhole"]
    results = [made_[holes] for holes in HOLES]
    assert len({result.sop_instance_uid for result in results if result}) == 3
    assert len({result.series_uid for result in results if result}) == 3
    for holes, result in made_.items():
        assert result is not None
        ds = pydicom.dcmread(result.path)
        assert (ds.SOPInstanceUID, ds.SeriesInstanceUID) == (result.sop_instance_uid, result.series_uid)
        assert ds.StructureSetDescription == HOLES[holes or "keyhole"]


def test_no_two_rois_have_one_name(tmp_path: Path) -> None:
    """Also where labels are the same only after they were shortened."""
    labels = ["vessel", "vessel", "vessel (2)", "superior mesenteric artery", "superior mesenteric vein"]
    labels += [f"{'x' * 60} {end}" for end in "ab"]
    plan = made.plan([], prompts=[Prompt(f"prompt {number}", label) for number, label in enumerate(labels)])
    volume = made.volume(tmp_path / "s")
    found = made.found(plan, made.masks(volume.grid.shape, len(labels)))
    result = encode_rtstruct(OutputContext(plan, volume, found, directory=tmp_path, engine="phantom"))
    assert result is not None
    assert made.dciodvfy(result.path) == []
    ds = pydicom.dcmread(result.path)
    names = [str(item.ROIName) for item in ds.StructureSetROISequence]
    short = [str(item.ROIObservationLabel) for item in ds.RTROIObservationsSequence]
    assert names[:2] == ["vessel TEST - NOT FOR PATIENTS", "vessel (2) TEST - NOT FOR PATIENTS"]
    assert all(name.endswith("TEST - NOT FOR PATIENTS") for name in names)
    assert short[:5] == ["vessel", "vessel (2)", "vessel (2) (2)", "superior mese...", "superior... (2)"]
    assert len(set(names)) == len(set(short)) == len(labels)
    assert max(map(len, names)) <= 64
    assert max(map(len, short)) <= 16


def test_each_peer_gets_its_method_and_the_same_method_is_one_object(tmp_path: Path) -> None:
    """The peer's own word, then its profile's, then the rule's."""
    folders = {name: {"folder": tmp_path / name} for name in ("plain", "planning", "eclipse", "viewer", "nested")}
    own: dict[str, dict[str, str]] = {
        "planning": {"holes": "xor"},
        "eclipse": {"holes": "inner"},
        "viewer": {"profile": "ohif"},  # it skips contours of type CLOSEDPLANAR_XOR
        "nested": {"profile": "ohif", "holes": "inner"},
    }
    peers = {name: {**folder, **own.get(name, {})} for name, folder in folders.items()}
    config = Config.model_validate({"version": 1, "model": {"engine": "phantom"}, "peers": peers})
    volume = made.volume(tmp_path / "s")
    for options, shared in ((PlanOptions(holes="xor"), ["plain", "planning"]), (PlanOptions(), ["plain", "viewer"])):
        plan = made.plan(["liver"], outputs=("rtstruct",), send_to=tuple(peers), options=options)
        found = made.found(plan, strange_masks(volume.grid.shape)[:1])
        results = encode(output_context(plan, volume, found, config=config, directory=tmp_path / "out"), config)
        said = {str(pydicom.dcmread(result.path).StructureSetDescription): list(result.peers) for result in results}
        assert len(said) == len(results) == 3
        assert said[HOLES["inner"]] == ["eclipse", "nested"]
        assert shared in said.values()
        assert "viewer" in said[HOLES["keyhole"]]
        assert "planning" in said[HOLES["xor"]]
        instead = [
            encode_instead(
                output_context(plan, volume, found, config=tried, directory=tmp_path / "out"), "seg", name, (), tried
            )
            for tried in [config.model_copy(update={"peers": falling_back(config)})]
            for name in peers
        ]
        assert [each.sop_instance_uid for (each,) in instead] == [
            next(result.sop_instance_uid for result in results if name in result.peers) for name in peers
        ]


def falling_back(config: Config) -> dict[str, Peer]:
    """Its peers, with a structure set in the place of what they refuse."""
    return {name: peer.model_copy(update={"fallback": ["rtstruct"]}) for name, peer in config.peers.items()}


@pytest.mark.parametrize("holes", HOLES)
def test_a_noisy_mask_takes_seconds(tmp_path: Path, holes: str) -> None:
    """32,000 contours: by a dataset for each they took ten seconds of this processor's time."""
    volume = made.volume(tmp_path / "s", shape=(8, 200, 200))
    plan = made.plan(["noise"])
    mask = np.random.default_rng(0).random(volume.grid.shape) < 0.12
    began = time.process_time()
    result = encode_rtstruct(OutputContext(plan, volume, made.found(plan, [mask]), directory=tmp_path), holes=holes)
    assert time.process_time() - began < 4
    assert result is not None
    (roi,) = pydicom.dcmread(result.path).ROIContourSequence
    assert len(roi.ContourSequence) > 28_000


def test_a_contour_longer_than_a_short_element_survives(tmp_path: Path) -> None:
    volume = made.volume(tmp_path / "s", shape=(1, 240, 240))
    mask = np.zeros(volume.grid.shape, bool)
    mask[0, ::4] = mask[0, :, 0] = True  # a comb, with teeth
    mask[0, 1::4, ::2] = True
    plan = made.plan(["comb"])
    result = encode_rtstruct(OutputContext(plan, volume, made.found(plan, [mask]), directory=tmp_path))
    assert result is not None
    (contour,) = pydicom.dcmread(result.path).ROIContourSequence[0].ContourSequence
    assert len("\\".join(str(value) for value in contour.ContourData)) > 65534


def test_nothing_found_makes_no_structure_set(tmp_path: Path) -> None:
    volume = made.volume(tmp_path / "s")
    plan = made.plan(["liver"])
    found = made.found(plan, [np.zeros(volume.grid.shape, bool)])
    assert encode_rtstruct(OutputContext(plan, volume, found, directory=tmp_path)) is None


def test_a_sieve_takes_no_time() -> None:
    frame = np.ones((81, 81), bool)
    frame[1::2, 1::2] = False  # 1,600 holes
    (ring,) = each(keyholed(rings(frame)))
    assert len(ring) > 6_400

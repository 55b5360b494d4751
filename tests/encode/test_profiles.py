"""What each peer gets of one plan: the form of its profile, shared where forms are the same, read by other programs."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from tests.encode import made
from voxtell_dicom.config import Config, load_config
from voxtell_dicom.encode import OutputContext, encode, output_context
from voxtell_dicom.encode.common.profiles import PROFILES, Form, Profile, form_of, profile_of, takers
from voxtell_dicom.encode.seg.segmentation import encode_segmentation
from voxtell_dicom.errors import ConfigError
from voxtell_dicom.model import Found, Plan, Result, Volume

TEXTS = ("liver", "left kidney", "liver lesion")
FORMS = [
    Form(transfer_syntax="deflated"),
    Form(empty_frames=True),
    Form(together="one"),
    Form(together="disjoint"),
    Form("occupancy", "rle"),
    Form("occupancy", "native", empty_frames=True),
    Form("occupancy", "deflated"),
    Form("labelmap", "native", together="one"),
    Form("labelmap", "deflated", together="one"),
    Form("labelmap", "rle", together="one", empty_frames=True),
    Form("fractional", "rle"),
    Form("fractional", "native", together="one"),
    Form("fractional", "deflated", empty_frames=True),
]


def config(**peers: dict[str, Any]) -> Config:
    entries = {name: {"ae_title": "A", "host": "h", "port": 1, **given} for name, given in peers.items()}
    return Config.model_validate({"version": 1, "model": {"directory": "voxtell"}, "peers": entries})


def setting(
    folder: Path, shape: tuple[int, int, int] = (6, 21, 23), **more: Any
) -> tuple[Volume, Plan, list[made.Bools], list[Found]]:
    volume = made.volume(folder / "s", shape=shape)
    plan = made.plan(TEXTS, **more)
    arrays = made.masks(shape, 3)
    return volume, plan, arrays, made.found(plan, arrays)


def read(results: Sequence[Result], volume: Volume) -> dict[int, made.Bools]:
    """Prompt → mask on the source frames, by pydicom: positions and references looked up as `made.decoded` does."""
    masks = {}
    for result in results:
        ds = pydicom.dcmread(result.path)
        pixels = ds.pixel_array.reshape(-1, ds.Rows, ds.Columns)
        place = {frame.sop_instance_uid: index for index, frame in enumerate(volume.frames)}
        for number, prompt in enumerate(result.segments, 1):
            masks[prompt] = np.zeros(volume.grid.shape, bool)
            for groups, frame in zip(ds.PerFrameFunctionalGroupsSequence, pixels, strict=True):
                (source,) = groups.DerivationImageSequence[0].SourceImageSequence
                index = place[str(source.ReferencedSOPInstanceUID)]
                position = [float(value) for value in groups.PlanePositionSequence[0].ImagePositionPatient]
                assert np.allclose(position, volume.frames[index].position_mm)
                if ds.SegmentationType == "LABELMAP":
                    masks[prompt][index] = frame == number
                elif ds.get("SegmentationFractionalType") == "PROBABILITY":
                    if groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber == number:
                        masks[prompt][index] = frame > 127
                elif groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber == number:
                    assert set(np.unique(frame)) <= {0, int(ds.get("MaximumFractionalValue", 1))}
                    masks[prompt][index] = frame > 0
    return masks


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.tag)
def test_every_reader_sees_the_same_voxels_in_every_form(tmp_path: Path, form: Form) -> None:
    volume, plan, arrays, found = setting(tmp_path)
    results = encode_segmentation(OutputContext(plan, volume, found, directory=tmp_path), form)
    assert (len(results) == 1) == (form.together == "all")
    masks = read(results, volume)
    assert all(np.array_equal(masks[number], array) for number, array in enumerate(arrays))
    images = [image for n, each in enumerate(results) for image in made.dcmqi_values(each.path, tmp_path / str(n))]
    arrays = [arrays[number] for result in results for number in result.segments]
    if form.encoding == "fractional":
        soft = [made.soft(array).to_array(volume.grid.shape) for array in arrays]
        assert images == [made.true_values(values, volume) for values in soft]
    else:
        points = [some for image in images for some in image.values()]
        assert points == [made.true_points(array, volume) for array in arrays]
    for result in results:
        ds = pydicom.dcmread(result.path)
        assert form.encoding == "fractional" or (ds.NumberOfFrames == 6 * len(result.segments)) == form.empty_frames
        assert form.encoding == "labelmap" or made.dciodvfy(inflated(result.path)) == []
        assert encode_segmentation(OutputContext(plan, volume, found, directory=tmp_path), form) == results


def inflated(path: Path) -> Path:
    """The same in explicit VR: the Debian build of dciodvfy inflates nothing, DCMTK's files neither."""
    other = path.with_suffix(".plain.dcm")
    subprocess.run(["dcmconv", "+te", str(path), str(other)] if _deflated(path) else ["cp", path, other], check=True)
    return other


def _deflated(path: Path) -> bool:
    return pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID.is_deflated


def test_a_generic_peer_gets_what_no_peer_got(tmp_path: Path) -> None:
    """The same UID and content as before there were profiles; slicer's form is the same."""
    volume, plan, arrays, found = setting(tmp_path, send_to=("pacs", "slicer"))
    peers = config(pacs={}, slicer={"profile": "slicer"})
    (result,) = encode(output_context(plan, volume, found, config=peers, directory=tmp_path), peers)
    assert result.peers == ("pacs", "slicer")
    alone = made.plan(TEXTS)
    assert alone.key == plan.key, "who gets it is no part of what it is"
    (other,) = encode(output_context(alone, volume, found, config=peers, directory=tmp_path), peers)
    assert (other.sop_instance_uid, other.digest, other.peers) == (result.sop_instance_uid, result.digest, ())
    read_back = made.decoded(result.path, volume)
    assert all(np.array_equal(read_back[number], array) for number, array in enumerate(arrays, 1))


@pytest.mark.parametrize(("columns", "shared"), [(23, False), (24, True)])
def test_ohif_gets_no_frame_that_begins_within_a_byte(tmp_path: Path, columns: int, shared: bool) -> None:
    volume, plan, arrays, _ = setting(tmp_path, (6, 21, columns), send_to=("pacs", "ohif", "ward"))
    apart = [array & ~np.any([np.zeros_like(array), *arrays[:number]], axis=0) for number, array in enumerate(arrays)]
    found, arrays = made.found(plan, apart), apart
    peers = config(pacs={}, ohif={"profile": "ohif"}, ward={"profile": "ohif"})
    results = encode(output_context(plan, volume, found, config=peers, directory=tmp_path), peers)
    assert [result.peers for result in results] == (
        [("pacs", "ohif", "ward")] if shared else [("pacs",), ("ohif", "ward")]
    )
    assert len({uid for result in results for uid in (result.sop_instance_uid, result.series_uid)}) == 2 * len(results)
    types = ["BINARY"] if shared else ["BINARY", "FRACTIONAL"]
    assert [pydicom.dcmread(result.path).SegmentationType for result in results] == types
    for result in results:
        masks = read([result], volume)
        assert all(np.array_equal(masks[number], array) for number, array in enumerate(arrays))
        assert result.kind == "seg"
    ds = pydicom.dcmread(results[-1].path)
    if not shared:
        assert (ds.SegmentationFractionalType, ds.MaximumFractionalValue, ds.SegmentsOverlap) == (
            "OCCUPANCY",
            255,
            "NO",
        )


def test_segments_that_overlap_go_to_ohif_in_objects_of_their_own(tmp_path: Path) -> None:
    volume = made.volume(tmp_path / "s", shape=(8, 24, 24))
    plan = made.plan(["urinary bladder", "liver", "liver lesion", "cyst"], send_to=("ohif", "pacs"))
    arrays = [np.zeros(volume.grid.shape, bool) for _ in range(4)]
    for array, (first, last, left) in zip(arrays, ((0, 3, 2), (3, 8, 4), (4, 6, 6), (5, 6, 6)), strict=True):
        array[first:last, left:12, left:16] = True
    found = made.found(plan, arrays)
    peers = config(pacs={}, ohif={"profile": "ohif"})
    whole, *apart = sorted(
        encode(output_context(plan, volume, found, config=peers, directory=tmp_path), peers),
        key=lambda r: -len(r.labels),
    )
    assert (whole.peers, whole.segments) == (("pacs",), (0, 1, 2, 3))
    assert [result.segments for result in apart] == [(0, 1), (2,), (3,)]
    assert {pydicom.dcmread(result.path).SegmentsOverlap for result in apart} == {"NO"}
    assert len({result.series_uid for result in (whole, *apart)}) == 4
    masks = read(apart, volume)
    assert all(np.array_equal(masks[number], array) for number, array in enumerate(arrays))
    colors = [item.RecommendedDisplayCIELabValue for result in apart for item in _segments(result)]
    assert colors == [item.RecommendedDisplayCIELabValue for item in _segments(whole)]


def _segments(result: Result) -> Sequence[Dataset]:
    return pydicom.dcmread(result.path).SegmentSequence


def test_one_object_for_each_segment(tmp_path: Path) -> None:
    """Each in a series of its own; named, coloured and tracked as in one object."""
    volume, plan, arrays, found = setting(tmp_path, outputs=("seg", "sr"), send_to=("all", "one"))
    arrays[1][:] = False
    found = made.found(plan, arrays)
    peers = config(all={}, one={"segments_per_object": "one"})
    whole, report, first, second, third = encode(
        output_context(plan, volume, found, config=peers, directory=tmp_path), peers
    )
    assert [result.kind for result in (whole, report, first, second, third)] == ["seg", "sr", "seg", "seg", "sr"]
    assert (whole.peers, report.peers) == (("all",), ("all",))
    assert (first.peers, second.peers, third.peers) == (("one",), ("one",), ("one",))
    assert (first.labels, second.labels, first.empty) == (("Liver",), ("Liver lesion",), ("Left kidney",))
    assert len({result.series_uid for result in (whole, report, first, second, third)}) == 5
    of_whole = pydicom.dcmread(whole.path).SegmentSequence
    for result, item in zip((first, second), of_whole, strict=True):
        ds = pydicom.dcmread(result.path)
        (own,) = ds.SegmentSequence
        assert own.SegmentNumber == 1
        for keyword in ("SegmentLabel", "TrackingUID", "RecommendedDisplayCIELabValue"):
            assert own[keyword].value == item[keyword].value
        assert ds.SeriesDescription == f"AI RESEARCH abdomen SEG [2 of 3 structures] {own.SegmentLabel}"
    referenced = [
        str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
        for group in pydicom.dcmread(third.path).ContentSequence[-1].ContentSequence
        for item in group.ContentSequence
        if item.ConceptNameCodeSequence[0].CodeValue == "121191"  # Referenced Segment
    ]
    assert referenced == [first.sop_instance_uid, second.sop_instance_uid]
    assert made.dciodvfy(third.path) == []


def test_frames_are_limited_at_the_borders_of_segments(tmp_path: Path) -> None:
    volume = made.volume(tmp_path / "s", shape=(9, 16, 16))
    plan = made.plan(["a", "b", "c", "d"], send_to=("pacs",))
    arrays = [np.zeros(volume.grid.shape, bool) for _ in range(4)]
    for array, frames in zip(arrays, (2, 3, 9, 1), strict=True):
        array[:frames, 3:5, 2:9] = True
    found = made.found(plan, arrays)

    def objects(limit: int, **more: Any) -> list[tuple[int, ...]]:
        peers = config(pacs={"frames_per_object": limit, **more})
        results = encode(output_context(plan, volume, found, config=peers, directory=tmp_path), peers)
        masks = read(results, volume)
        assert "labelmap" in more.values() or all(np.array_equal(masks[n], array) for n, array in enumerate(arrays))
        return [result.segments for result in results]

    assert objects(5) == [(0, 1), (2,), (3,)]
    assert objects(15) == [(0, 1, 2, 3)]
    assert objects(10) == [(0, 1), (2, 3)]
    assert objects(0) == [(0, 1, 2, 3)]
    assert objects(9, encoding="labelmap") == [(0, 1, 2, 3)], "a label map counts each frame once"
    assert objects(9, empty_frames=True) == [(0,), (1,), (2,), (3,)]


def test_a_limit_that_is_not_reached_changes_nothing(tmp_path: Path) -> None:
    volume, plan, _, found = setting(tmp_path, send_to=("pacs", "weasis"))
    peers = config(pacs={}, weasis={"profile": "weasis"})
    (result,) = encode(output_context(plan, volume, found, config=peers, directory=tmp_path), peers)
    assert result.peers == ("pacs", "weasis")


def test_a_segmentation_encoded_as_a_label_map_is_the_label_map(tmp_path: Path) -> None:
    volume, plan, _, found = setting(tmp_path, outputs=("seg", "labelmap"), send_to=("pacs",))
    (result,) = encode(
        output_context(plan, volume, found, config=config(pacs={"encoding": "labelmap"}), directory=tmp_path),
        config(pacs={"encoding": "labelmap"}),
    )
    (other,) = encode_segmentation(OutputContext(plan, volume, found, directory=tmp_path), Form("labelmap", "rle"))
    assert (result.kind, result.sop_instance_uid) == ("labelmap", other.sop_instance_uid)


def test_what_is_set_by_hand_stands_above_the_profile() -> None:
    peers = config(
        a={"profile": "weasis", "frames_per_object": 0},
        b={"profile": "ohif", "encoding": "binary", "segments_per_object": "all", "fallback": []},
        c={"profile": "generic", "encoding": "occupancy", "transfer_syntax": "rle"},
    ).peers
    assert profile_of(peers["a"]) == PROFILES["slicer"]
    assert profile_of(peers["b"]) == Profile(holes="keyhole")
    assert form_of("seg", profile_of(peers["c"]), (21, 23)) == Form("occupancy", "rle")
    assert profile_of(None) == PROFILES["generic"], "a peer that is gone from node.yaml"


def test_peers_of_one_profile_are_taken_together() -> None:
    plan = made.plan(TEXTS, send_to=("a", "b", "c", "gone"))
    same = {"encoding": "aligned", "segments_per_object": "disjoint", "holes": "keyhole"}
    peers = config(a={"profile": "ohif"}, b={}, c={**same, "fallback": ["native"]})
    assert takers(plan, peers) == {PROFILES["ohif"]: ("a", "c"), Profile(): ("b", "gone")}


NODE = """version: 1
model: {engine: phantom}
peers:
  pacs: {%s, %s}
"""


@pytest.mark.parametrize(
    "kind", ["ae_title: A, host: h, port: 104", "dicomweb: 'https://pacs.example/dicom-web'", "folder: ./out"]
)
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            "profile: ohfi",
            "peers.pacs.profile: 'ohfi' is not one of generic, ohif, weasis, slicer; did you mean 'ohif'?",
        ),
        ("profil: ohif", "unknown key 'profil' in peers.pacs; did you mean 'profile'?"),
        ("encoding: binray", "did you mean 'binary'?"),
        ("segments_per_object: on", "is not one of all, disjoint, one"),
        ("transfer_syntax: rle", "one bit a pixel takes no RLE"),
        ("fallback: [seq]", "did you mean 'seg'?"),
        ("segments_per_object: one, frames_per_object: 4", "frames_per_object"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, kind: str, given: str, said: str) -> None:
    path = tmp_path / "node.yaml"
    path.write_text(NODE % (kind, given))
    with pytest.raises(ConfigError) as raised:
        load_config(path)
    assert said in str(raised.value)
    assert "node.yaml:4:" in str(raised.value)
    path.write_text(NODE % (kind, "profile: weasis, encoding: occupancy, transfer_syntax: rle, empty_frames: true"))
    assert profile_of(load_config(path).peers["pacs"]).frames_per_object == 400

"""The BINARY segmentation: its voxels by other readers, its words, its identity, and that it is made once."""

from __future__ import annotations

import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest

from tests.encode import made
from voxtell_dicom.encode import OutputContext, encode_seg
from voxtell_dicom.encode.common.words import prompt_of
from voxtell_dicom.encode.seg.overlap import overlapping
from voxtell_dicom.errors import EncodingError, GridMismatch, Refusal
from voxtell_dicom.model import BoolArray, Found, Mask, Prompt

TEXTS = ("liver", "left kidney", "liver lesion", "something with no code at all")
C, S = np.cos(np.deg2rad(20)), np.sin(np.deg2rad(20))
ORIENTATIONS = {
    "axial": ((1, 0, 0), (0, 1, 0)),
    "axial, feet first prone": ((1, 0, 0), (0, -1, 0)),
    "coronal": ((1, 0, 0), (0, 0, -1)),
    "sagittal": ((0, 1, 0), (0, 0, -1)),
    "oblique": ((C, S, 0), (-S * C, C * C, S)),
}


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("name", ORIENTATIONS)
def test_every_reader_sees_the_same_voxels(tmp_path: Path, name: str, descending: bool) -> None:
    row, column = ORIENTATIONS[name]
    volume = made.volume(tmp_path / "s", row=row, column=column, descending=descending)
    plan = made.plan(TEXTS)
    arrays = made.masks(volume.grid.shape, 4)
    result = encode_seg(OutputContext(plan, volume, made.found(plan, arrays), directory=tmp_path))
    assert result is not None
    assert made.dciodvfy(result.path) == []
    read = made.decoded(result.path, volume)
    points = made.dcmqi_points(result.path, tmp_path / "dcmqi")
    for number, array in enumerate(arrays, 1):
        assert np.array_equal(read[number], array)
        assert points[number - 1] == made.true_points(array, volume)
    seg = highdicom.seg.segread(result.path)
    uids = [frame.sop_instance_uid for frame in volume.frames]
    pixels = seg.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True)
    assert np.array_equal(pixels.transpose(3, 0, 1, 2).astype(bool), np.stack(arrays))


def test_each_mask_is_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty large ones take seconds otherwise; whether segments overlap is seen plane by plane."""
    unpacked: Counter[int] = Counter()
    crop = Mask.crop

    def counted(mask: Mask) -> BoolArray:
        unpacked[id(mask)] += 1
        return crop(mask)

    monkeypatch.setattr(Mask, "crop", counted)
    volume = made.volume(tmp_path / "s")
    plan = made.plan(TEXTS)
    context = OutputContext(plan, volume, made.found(plan, made.masks(volume.grid.shape, 4)), directory=tmp_path)
    assert encode_seg(context) is not None
    assert unpacked == {id(item.mask): 1 for item in context.found}


def test_overlap_is_seen_where_boxes_meet() -> None:
    array = np.zeros((4, 6, 6), bool)
    array[1:3, 1:5, 1:5] = np.indices((2, 4, 4)).sum(axis=0) % 2
    mask, other = Mask.from_array(array), Mask.from_array(np.roll(array, 1, axis=2))
    assert overlapping([mask, mask])
    assert not overlapping([mask, other])
    assert not overlapping([mask, Mask.from_array(np.roll(array, 2, axis=0)), other])
    assert overlapping([mask, other, Mask.from_array(np.roll(array, 2, axis=1))])


@pytest.mark.parametrize("columns", [8, 9, 23, 24, 1])
@pytest.mark.parametrize("rows", [5, 8])
def test_any_number_of_columns(tmp_path: Path, rows: int, columns: int) -> None:
    volume = made.volume(tmp_path / "s", shape=(11, rows, columns))
    plan = made.plan(TEXTS[:3])
    arrays = made.masks(volume.grid.shape, 3, seed=columns)
    result = encode_seg(OutputContext(plan, volume, made.found(plan, arrays), directory=tmp_path))
    assert result is not None
    read = made.decoded(result.path, volume)
    assert all(np.array_equal(read[number], array) for number, array in enumerate(arrays, 1))


def test_a_sheared_stack_keeps_each_frame_on_its_source(tmp_path: Path) -> None:
    volume = made.volume(tmp_path / "s", shear_mm=(0, 1.2, 0))
    plan = made.plan(TEXTS[:2])
    arrays = made.masks(volume.grid.shape, 2)
    result = encode_seg(OutputContext(plan, volume, made.found(plan, arrays), directory=tmp_path))
    assert result is not None
    read = made.decoded(result.path, volume)  # checks positions too
    assert all(np.array_equal(read[number], array) for number, array in enumerate(arrays, 1))


def test_of_one_multi_frame_source(tmp_path: Path) -> None:
    single = made.volume(tmp_path / "s", ImagePositionPatient=None, ImageOrientationPatient=None, PixelSpacing=None)
    path = single.frames[0].path  # stands for the multi-frame object: geometry is in the volume alone
    uid = single.frames[0].sop_instance_uid
    frames = tuple(replace(f, sop_instance_uid=uid, number=9 - i, path=path) for i, f in enumerate(single.frames))
    volume = replace(single, frames=frames)
    plan = made.plan(TEXTS[:2])
    arrays = made.masks(volume.grid.shape, 2)
    result = encode_seg(OutputContext(plan, volume, made.found(plan, arrays), directory=tmp_path))
    assert result is not None
    read = made.decoded(result.path, volume)
    assert all(np.array_equal(read[number], array) for number, array in enumerate(arrays, 1))
    (series,) = pydicom.dcmread(result.path).ReferencedSeriesSequence
    assert [item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence] == [uid]


def test_what_is_empty_is_left_out_and_named(tmp_path: Path) -> None:
    volume = made.volume(tmp_path / "s")
    plan = made.plan(TEXTS)
    arrays = made.masks(volume.grid.shape, 4)
    arrays[0][:] = arrays[2][:] = False
    result = encode_seg(OutputContext(plan, volume, made.found(plan, arrays), directory=tmp_path))
    assert result is not None
    assert result.labels == ("Left kidney", "Something with no code at all")
    assert result.empty == ("Liver", "Liver lesion")
    ds = pydicom.dcmread(result.path)
    assert [item.SegmentNumber for item in ds.SegmentSequence] == [1, 2]
    assert ds.SeriesDescription == "AI RESEARCH abdomen SEG [2 of 4 structures]"
    assert np.array_equal(made.decoded(result.path, volume)[2], arrays[3])


def test_all_empty_makes_no_object(tmp_path: Path) -> None:
    volume = made.volume(tmp_path / "s")
    plan = made.plan(TEXTS)
    nothing = [np.zeros(volume.grid.shape, bool)] * 4
    out = tmp_path / "out"
    assert encode_seg(OutputContext(plan, volume, made.found(plan, nothing), directory=out)) is None
    assert not out.exists()


def test_one_uid_never_has_two_contents(tmp_path: Path) -> None:
    volume = made.volume(tmp_path / "s")
    plan = made.plan(TEXTS)
    arrays = made.masks(volume.grid.shape, 4)
    first = encode_seg(OutputContext(plan, volume, made.found(plan, arrays), directory=tmp_path / "out"))
    assert first is not None
    data = first.path.read_bytes()
    other = [np.roll(array, 1, axis=2) for array in arrays]
    other[1][:] = False
    assert encode_seg(OutputContext(plan, volume, made.found(plan, other), directory=tmp_path / "out")) == first
    assert first.path.read_bytes() == data
    assert [path.name for path in (tmp_path / "out").iterdir()] == [first.path.name], "a temporary file was left"
    again = encode_seg(
        OutputContext(replace(plan, run=1), volume, made.found(plan, arrays), directory=tmp_path / "out")
    )
    assert again is not None
    assert again.sop_instance_uid != first.sop_instance_uid
    assert again.series_uid != first.series_uid


def test_overlap_is_said(tmp_path: Path) -> None:
    volume = made.volume(tmp_path / "s")
    plan = made.plan(TEXTS[:2])
    one, other = np.zeros(volume.grid.shape, bool), np.zeros(volume.grid.shape, bool)
    one[:, :10], other[:, 10:] = True, True
    apart = encode_seg(OutputContext(plan, volume, made.found(plan, [one, other]), directory=tmp_path / "apart"))
    other[2, 9, 3] = True
    meeting = encode_seg(OutputContext(plan, volume, made.found(plan, [one, other]), directory=tmp_path / "meeting"))
    assert apart is not None
    assert meeting is not None
    assert pydicom.dcmread(apart.path).SegmentsOverlap == "NO"
    assert pydicom.dcmread(meeting.path).SegmentsOverlap == "YES"


def test_the_description_gives_prompt_and_confidence(tmp_path: Path) -> None:
    """The prompt, whole, on the first line; what the engine thinks of it on the second, where there is room."""
    volume = made.volume(tmp_path / "s")
    long = "x" * 1000
    plan = made.plan(["cyst", "two\nlines", "spleen", long])
    found = made.found(plan, made.masks(volume.grid.shape, 4))
    found[0] = replace(found[0], mean_probability=0.9137, uncertain_share=0.0712)
    found[1] = replace(found[1], mean_probability=0.5)
    found[3] = replace(found[3], mean_probability=0.75, uncertain_share=0.5)
    result = encode_seg(OutputContext(plan, volume, found, directory=tmp_path))
    assert result is not None
    said = [str(item.SegmentDescription) for item in pydicom.dcmread(result.path).SegmentSequence]
    assert said == [
        "cyst\r\nconfidence high (mean probability 0.91; 7 % of its voxels uncertain)",
        "two lines\r\nconfidence low (mean probability 0.50)",
        "spleen",
        long,
    ]
    assert [prompt_of(text) for text in said] == ["cyst", "two lines", "spleen", long]
    assert made.dciodvfy(result.path) == []


def test_long_words_fit_and_nothing_of_the_prompt_is_lost(tmp_path: Path) -> None:
    volume = made.volume(tmp_path / "s")
    text = "the lesion " * 30
    plan = made.plan(
        [],
        prompts=[Prompt(text, "A label that is rather long, " * 2)],
        rule="r" * 64,
        identity="voxtell-dicom/1 threshold",
    )
    result = encode_seg(
        OutputContext(plan, volume, made.found(plan, made.masks(volume.grid.shape, 1)), directory=tmp_path)
    )
    assert result is not None
    ds = pydicom.dcmread(result.path)
    (segment,) = ds.SegmentSequence
    assert len(segment.SegmentLabel) <= 64
    assert segment.SegmentLabel.endswith("TEST - NOT FOR PATIENTS")
    assert segment.SegmentDescription == text.strip()
    assert len(ds.SeriesDescription) <= 64
    assert ds.SeriesDescription.startswith("AI RESEARCH rrr")
    assert ds.SeriesDescription.endswith("[1 of 1] TEST - NOT FOR PATIENTS")
    assert len(segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning) <= 64
    assert made.dciodvfy(result.path) == []


def test_the_phantom_is_marked_by_the_configuration(tmp_path: Path) -> None:
    volume = replace(made.volume(tmp_path / "s"), warnings=("incomplete",))
    plan = made.plan(TEXTS[:1])
    found = made.found(plan, made.masks(volume.grid.shape, 1))
    result = encode_seg(OutputContext(plan, volume, found, directory=tmp_path, engine="phantom"))
    assert result is not None
    ds = pydicom.dcmread(result.path)
    assert ds.SeriesDescription == "AI RESEARCH abdomen SEG [1 of 1] [!] TEST - NOT FOR PATIENTS"
    assert ds.SegmentSequence[0].SegmentLabel == "Liver TEST - NOT FOR PATIENTS"
    assert ds.SegmentSequence[0].SegmentAlgorithmName == "phantom"


def test_provenance(tmp_path: Path) -> None:
    volume = made.volume(tmp_path / "s", BodyPartExamined="ABDOMEN", Laterality="L", TimezoneOffsetFromUTC="+0530")
    plan = made.plan(TEXTS[:2])
    found = made.found(plan, made.masks(volume.grid.shape, 2))
    result = encode_seg(OutputContext(plan, volume, found, directory=tmp_path, series_number_base=50))
    assert result is not None
    ds = pydicom.dcmread(result.path)
    assert ds.SeriesNumber == 210
    assert (ds.BodyPartExamined, ds.Laterality, ds.TimezoneOffsetFromUTC) == ("ABDOMEN", "L", "+0530")
    assert (ds.SeriesDate, ds.SeriesTime) == (ds.ContentDate, ds.ContentTime)
    assert ds.Manufacturer == "voxtell-dicom"
    assert all(len(value) <= 64 for value in ds.SoftwareVersions)
    equipment = {item.PurposeOfReferenceCodeSequence[0].CodeValue: item for item in ds.ContributingEquipmentSequence}
    assert equipment["109102"].DeviceUID == ds.DeviceUID
    assert equipment["109101"].Manufacturer == "Test"
    algorithm = ds.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert "model_digest=0123456789abcdef0123456789abcdef" in algorithm.AlgorithmParameters
    pairs = {(item.TrackingID, item.TrackingUID) for item in ds.SegmentSequence}
    assert len(pairs) == 2
    assert len({tuple(item.RecommendedDisplayCIELabValue) for item in ds.SegmentSequence}) == 2
    other = encode_seg(
        OutputContext(
            made.plan(TEXTS[:2], identity=made.MODEL.replace("0123", "4567")),
            volume,
            found,
            directory=tmp_path / "other",
        )
    )
    assert other is not None
    assert pydicom.dcmread(other.path).DeviceUID != ds.DeviceUID


def test_type_2_attributes_that_are_missing_are_empty(tmp_path: Path) -> None:
    names = ("PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate", "StudyTime", "SeriesNumber")
    gone = dict.fromkeys((*names, "ReferringPhysicianName", "PatientName", "Manufacturer", "SliceThickness"))
    volume = made.volume(tmp_path / "s", **gone)
    plan = made.plan(TEXTS[:1])
    result = encode_seg(
        OutputContext(plan, volume, made.found(plan, made.masks(volume.grid.shape, 1)), directory=tmp_path)
    )
    assert result is not None
    ds = pydicom.dcmread(result.path)
    assert all(name in ds and not ds.get(name) for name in names if name != "SeriesNumber")
    assert ds.SeriesNumber >= 1
    assert made.dciodvfy(result.path) == []


def test_odd_values_of_the_source_do_not_stop_it(tmp_path: Path) -> None:
    volume = made.volume(tmp_path / "s", PatientSex="X", SeriesNumber=2_000_000_000)
    plan = made.plan(TEXTS[:1])
    result = encode_seg(
        OutputContext(plan, volume, made.found(plan, made.masks(volume.grid.shape, 1)), directory=tmp_path)
    )
    assert result is not None
    ds = pydicom.dcmread(result.path)
    assert ds.PatientSex == "X"
    assert 1 <= ds.SeriesNumber <= 2**31 - 1


@pytest.mark.parametrize(
    ("charset", "name", "label", "expected"),
    [
        ("ISO_IR 100", "Müller^Jürgen", "Leber", "ISO_IR 100"),
        ("ISO_IR 100", "Müller^Jürgen", "Nieren-Zyste größer", "ISO_IR 100"),
        ("ISO_IR 100", "Mueller^Juergen", "肝臓", "ISO_IR 192"),
        ("ISO_IR 192", "Wang^XiaoDong=王^小东", "肝", "ISO_IR 192"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう", "Liver", ["", "ISO 2022 IR 87"]),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう", "肝臓", ["", "ISO 2022 IR 87"]),
        ("GB18030", "Wang^XiaoDong=王^小东", "肝", "GB18030"),
        ("ISO_IR 144", "Люкceмбypг", "печень", "ISO_IR 144"),
        (None, "Doe^Jane", "foie à gauche", "ISO_IR 192"),
    ],
)
def test_character_sets(tmp_path: Path, charset: object, name: str, label: str, expected: object) -> None:
    more = {} if charset is None else {"SpecificCharacterSet": charset}
    volume = made.volume(tmp_path / "s", PatientName=name, **more)
    plan = made.plan([], prompts=[Prompt(label, label)])
    result = encode_seg(
        OutputContext(plan, volume, made.found(plan, made.masks(volume.grid.shape, 1)), directory=tmp_path)
    )
    assert result is not None
    ds = pydicom.dcmread(result.path)
    assert ds.SpecificCharacterSet == expected
    assert str(ds.PatientName) == name
    assert ds.SegmentSequence[0].SegmentLabel == label
    assert ds.SegmentSequence[0].SegmentDescription == label
    if expected == "ISO_IR 192":  # another reader
        text = subprocess.run(
            ["dcmdump", "+U8", "+L", str(result.path)], capture_output=True, timeout=60
        ).stdout.decode()
        assert label in text
        assert name in text


@pytest.mark.parametrize(
    ("keyword", "code"),
    [("PatientID", "mixed-patients"), ("IssuerOfPatientID", "mixed-patients"), ("AccessionNumber", "mixed-studies")],
)
def test_two_identities_in_one_series_are_refused_by_name(tmp_path: Path, keyword: str, code: str) -> None:
    volume = made.volume(tmp_path / "s", **{keyword: lambda index: "SECRET" if index == 3 else "OTHER"})
    plan = made.plan(TEXTS[:1])
    with pytest.raises(Refusal) as raised:
        encode_seg(OutputContext(plan, volume, made.found(plan, made.masks(volume.grid.shape, 1)), directory=tmp_path))
    assert raised.value.code == code
    tag = {"PatientID": "(0010,0020)", "IssuerOfPatientID": "(0010,0021)", "AccessionNumber": "(0008,0050)"}[keyword]
    assert tag in str(raised.value)
    assert volume.series_uid in str(raised.value)
    assert "SECRET" not in str(raised.value)


def test_identity_is_that_of_the_newest_instances(tmp_path: Path) -> None:
    """A PACS corrects the headers of a series and sends it again: the result carries the correction."""
    made.volume(tmp_path / "s", AccessionNumber="OLD")
    volume = made.volume(tmp_path / "s", AccessionNumber="NEW", IssuerOfPatientID="HOSPITAL")
    plan = made.plan(TEXTS[:1])
    result = encode_seg(
        OutputContext(plan, volume, made.found(plan, made.masks(volume.grid.shape, 1)), directory=tmp_path)
    )
    assert result is not None
    ds = pydicom.dcmread(result.path)
    assert (ds.AccessionNumber, ds.IssuerOfPatientID) == ("NEW", "HOSPITAL")


def test_a_lossy_source_is_said(tmp_path: Path) -> None:
    lossy = {
        "LossyImageCompression": "01",
        "LossyImageCompressionRatio": 10,
        "LossyImageCompressionMethod": "ISO_10918_1",
    }
    volume = made.volume(tmp_path / "s", **lossy)
    plan = made.plan(TEXTS[:1])
    result = encode_seg(
        OutputContext(plan, volume, made.found(plan, made.masks(volume.grid.shape, 1)), directory=tmp_path)
    )
    assert result is not None
    ds = pydicom.dcmread(result.path)
    assert (ds.LossyImageCompression, ds.LossyImageCompressionRatio) == ("01", 10)
    assert made.dciodvfy(result.path) == []


def test_the_wrong_masks_are_refused(tmp_path: Path) -> None:
    volume = made.volume(tmp_path / "s")
    plan = made.plan(TEXTS[:1])
    outside = Found(plan.prompts[0], Mask.from_array(np.ones((6, 20, 25), bool)))
    with pytest.raises(GridMismatch, match="25"):
        encode_seg(OutputContext(plan, volume, [outside], directory=tmp_path))
    with pytest.raises(EncodingError, match="prompts"):
        encode_seg(OutputContext(plan, volume, [], directory=tmp_path))
    moved = replace(volume, frames=(replace(volume.frames[0], position_mm=(0, 0, 0)), *volume.frames[1:]))
    found = made.found(plan, made.masks(volume.grid.shape, 1))
    with pytest.raises(EncodingError, match="Image Position"):
        encode_seg(OutputContext(plan, moved, found, directory=tmp_path))


def test_study_checks_of_dcentvfy(tmp_path: Path) -> None:
    volume = made.volume(tmp_path / "s", PatientAge="056Y", StudyDescription="Abdomen")
    plan = made.plan(TEXTS)
    result = encode_seg(
        OutputContext(plan, volume, made.found(plan, made.masks(volume.grid.shape, 4)), directory=tmp_path)
    )
    assert result is not None
    files = [str(result.path), *(str(frame.path) for frame in volume.frames)]
    run = subprocess.run(["dcentvfy", *files], capture_output=True, text=True, timeout=60)
    assert "Error" not in run.stdout + run.stderr


def test_a_deidentified_source_that_does_not_say_how(tmp_path: Path) -> None:
    volume = made.volume(tmp_path / "s", PatientIdentityRemoved="YES", DeidentificationMethod="")
    plan = made.plan(TEXTS[:1])
    result = encode_seg(
        OutputContext(plan, volume, made.found(plan, made.masks(volume.grid.shape, 1)), directory=tmp_path)
    )
    assert result is not None
    assert pydicom.dcmread(result.path).PatientIdentityRemoved == "YES"
    assert made.dciodvfy(result.path) == []


def test_empty_attributes_of_the_source_are_not_carried(tmp_path: Path) -> None:
    empty = {"ReferencedStudySequence": [], "ProcedureCodeSequence": [], "SpecificCharacterSet": ""}
    volume = made.volume(tmp_path / "s", **empty)
    plan = made.plan(TEXTS[:1])
    result = encode_seg(
        OutputContext(plan, volume, made.found(plan, made.masks(volume.grid.shape, 1)), directory=tmp_path)
    )
    assert result is not None
    ds = pydicom.dcmread(result.path)
    assert not [keyword for keyword in empty if keyword in ds]
    assert made.dciodvfy(result.path) == []


@pytest.mark.parametrize("part", ["KNEE", "BREAST"])
def test_the_side_of_a_pair_comes_along(tmp_path: Path, part: str) -> None:
    """PS3.3 C.7.3.1 asks for it, as no functional group of a segmentation says it; dciodvfy calls it a mistake."""
    volume = made.volume(tmp_path / "s", BodyPartExamined=part, Laterality="L")
    plan = made.plan(["lesion"])
    seg = encode_seg(
        OutputContext(plan, volume, made.found(plan, made.masks(volume.grid.shape, 1)), directory=tmp_path)
    )
    assert seg is not None
    assert pydicom.dcmread(seg.path).Laterality == "L"
    (said,) = made.dciodvfy(seg.path)
    assert said.startswith("Error - Attribute present when condition unsatisfied")
    assert "Element=<Laterality>" in said

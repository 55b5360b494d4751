"""Secondary captures and the receipt: valid, with the contours and the words in their pixels."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from tests.encode import made
from voxtell_dicom.config import Config
from voxtell_dicom.dicom.headers import HeaderSource
from voxtell_dicom.encode import OutputContext, encode, output_context
from voxtell_dicom.encode.capture import fonts
from voxtell_dicom.encode.capture.drawing import NO_GLYPH, figure_of
from voxtell_dicom.encode.capture.fonts import fonts_for
from voxtell_dicom.encode.capture.scene import read_scene, scene_of
from voxtell_dicom.encode.capture.secondary import encode_secondary
from voxtell_dicom.encode.common.context import ASCII_WORDS
from voxtell_dicom.encode.common.frame_values import FrameValues
from voxtell_dicom.encode.common.provenance import TEST_MARK, maker_of
from voxtell_dicom.encode.common.words import four_digits
from voxtell_dicom.encode.receipt.page import receipt_figure
from voxtell_dicom.encode.receipt.receipt import encode_receipt, statement_of
from voxtell_dicom.encode.seg.segmentation import encode_seg
from voxtell_dicom.model import PlanOptions, Prompt
from voxtell_dicom.terms.colors import colors_of

TEXTS = ("liver", "left kidney", "spleen", "nothing", "right kidney")


def test_each_segment_is_shown_on_a_page(tmp_path: Path) -> None:
    volume = made.volume(
        tmp_path / "s",
        shape=(12, 20, 24),
        SpecificCharacterSet="ISO_IR 100",
        PatientName="Müller",
        BodyPartExamined="ABDOMEN",
    )
    plan = made.plan(TEXTS)
    arrays = [np.zeros(volume.grid.shape, bool) for _ in TEXTS]
    for number, array in enumerate(arrays):
        array[2:10, 2 + 2 * number : 8 + 2 * number, 3 + 2 * number : 12 + 2 * number] = number != 3
    results = encode_secondary(
        OutputContext(plan, volume, made.found(plan, arrays), directory=tmp_path, engine="phantom")
    )
    assert len(results) == 2  # three segments on a page
    assert len({result.series_uid for result in results}) == 1
    shown = [prompt for prompt in plan.prompts if prompt.text != "nothing"]
    for number, result in enumerate(results, 1):
        assert made.dciodvfy(result.path) == []
        ds = pydicom.dcmread(result.path)
        assert (ds.Modality, ds.InstanceNumber, ds.StudyInstanceUID) == ("OT", number, volume.study_uid)
        assert ds.BurnedInAnnotation == "YES"
        assert str(ds.PatientName) == "Müller"
        pixels = ds.pixel_array.astype(int)
        for color in colors_of(shown):  # the legend names all of them, on every page
            assert np.count_nonzero(np.abs(pixels - color).max(axis=2) < 12) > 50
    assert (
        encode_secondary(OutputContext(plan, volume, made.found(plan, arrays), directory=tmp_path, engine="phantom"))
        == results
    )


@pytest.mark.parametrize("part", ["CHEST", "KNEE", "PARTIALBODY", ""])
def test_laterality_stands_where_the_body_part_may_be_a_pair(tmp_path: Path, part: str) -> None:
    volume = made.volume(tmp_path / "s", BodyPartExamined=part)
    plan = made.plan(TEXTS[:1])
    found = made.found(plan, made.masks(volume.grid.shape, 1))
    (result,) = encode_secondary(OutputContext(plan, volume, found, directory=tmp_path, engine="phantom"))
    assert ("Laterality" in pydicom.dcmread(result.path)) == (part != "CHEST")
    assert made.dciodvfy(result.path) == []


@pytest.mark.parametrize(("photometric", "black"), [("MONOCHROME2", -160), ("MONOCHROME1", 240)])
def test_grey_is_turned_where_the_source_turns_it(tmp_path: Path, photometric: str, black: int) -> None:
    volume = made.volume(tmp_path / "s", PhotometricInterpretation=photometric)
    found = made.found(made.plan(["liver"]), made.masks(volume.grid.shape, 1))
    assert scene_of(FrameValues(volume, HeaderSource()), found, "").window[0] == black
    seg = encode_seg(OutputContext(made.plan(["liver"]), volume, found, directory=tmp_path))
    assert seg is not None
    assert read_scene(seg.path, tmp_path / "s").window[0] == black


def test_nothing_found_has_no_page(tmp_path: Path) -> None:
    volume = made.volume(tmp_path / "s")
    plan = made.plan(["liver"])
    assert (
        encode_secondary(
            OutputContext(plan, volume, made.found(plan, [np.zeros(volume.grid.shape, bool)]), directory=tmp_path)
        )
        == []
    )


LONG = [f"structure {number} with a name of sixty-four letters, {'x' * 40}"[:64] for number in range(40)]


@pytest.mark.parametrize("labels", [LONG, ["$liver_{2", "a\\b"], ["肝臓", "печень", "כבד"], ["liver"]])
def test_every_name_stands_whole_in_the_legend(tmp_path: Path, labels: list[str]) -> None:
    """Within the picture, below the cuts; no letter is taken for a formula, none is missing without a word."""
    volume = made.volume(tmp_path / "s", shape=(12, 20, 24))
    plan = made.plan([], prompts=[Prompt(label, label) for label in labels])
    found = made.found(plan, made.masks(volume.grid.shape, len(labels)))
    scene = scene_of(FrameValues(volume, HeaderSource()), found, "AI RESEARCH abdomen")
    for page in ([0, 1, 2][: len(labels)], [len(labels) - 1]):
        figure = figure_of(scene, page, footer="AI result, not for diagnosis")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            figure.canvas.draw()
        (legend,) = figure.legends
        picture, low = figure.bbox, min(axis.get_window_extent().y0 for axis in figure.axes)
        extent = legend.get_window_extent()
        assert 0 <= extent.x0 < extent.x1 <= picture.width
        assert 0 <= extent.y0 < extent.y1 <= low + 1
        shown = [text.get_text() for text in legend.get_texts()]
        known = fonts_for(labels)
        millilitres = [volume.millilitres(item.mask) for item in found]
        names = [f"{label}, {four_digits(each):g} mL" for label, each in zip(labels, millilitres, strict=True)]
        assert shown == [known.drawable(name) for name in names]
        assert bool(known.undrawable) == any(NO_GLYPH in text.get_text() for text in figure.texts)
        for axis in figure.axes:
            title = axis.title.get_window_extent()
            assert 0 <= title.x0 < title.x1 <= picture.width


def test_a_letter_is_looked_for_in_every_font(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fonts_for(["liver", "Müller"]).families == ("DejaVu Sans",)
    other = min(fonts._letters_of("STIXGeneral") - fonts._letters_of("DejaVu Sans"))
    found = fonts_for(["liver", other])
    assert (len(found.families), found.undrawable) == (2, frozenset())
    only = {name: file for name, file in fonts._files().items() if name == "DejaVu Sans"}
    monkeypatch.setattr(fonts, "_files", lambda: only)
    fonts._fonts.cache_clear()
    found = fonts_for(["肝", "liver"])
    fonts._fonts.cache_clear()
    assert (found.families, found.undrawable, found.drawable("肝 liver")) == (("DejaVu Sans",), {"肝"}, "□ liver")


def test_all_words_stand_on_the_receipt() -> None:
    """Long lines are folded, not cut."""
    lines = ["Rule        abdomen", "! " + "word " * 60, "  " + "x" * 64 + "  NOT FOUND"]
    figure = receipt_figure(lines, "AI result, not for diagnosis")
    figure.canvas.draw()
    assert all(text.get_window_extent().x1 <= figure.bbox.width for text in figure.texts)
    assert "".join(text.get_text() for text in figure.texts).count("word") == 60


@pytest.mark.parametrize(
    ("charset", "name", "description"),
    [
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう", "腹部"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동", "복부"),
        ("GB18030", "Wang^XiaoDong=王^小东", "腹部"),
        ("ISO_IR 144", "Люкceмбypг", "живот"),
    ],
)
@pytest.mark.parametrize("text", ["liver", "肝臓"])
def test_names_come_through_in_every_object(
    tmp_path: Path, charset: object, name: str, description: str, text: str
) -> None:
    words = {"PatientName": name, "StudyDescription": description, "InstitutionName": description}
    volume = made.volume(tmp_path / "s", SpecificCharacterSet=charset, **words)
    plan = made.plan([text], outputs=("seg", "sr", "rtstruct", "secondary", "labelmap"))
    rule = {"name": "abdomen", "when": {"Modality": "CT"}, "prompts": [text], "receipt": "always"}
    config = Config.model_validate({"version": 1, "model": {"engine": "phantom"}, "rules": [rule]})
    found = made.found(plan, made.masks(volume.grid.shape, 1))
    before = [frame.path.read_bytes() for frame in volume.frames]
    results = encode(output_context(plan, volume, found, config=config, directory=tmp_path / "out"), config)
    assert len(results) == 6
    for result in results:
        ds = pydicom.dcmread(result.path)
        assert str(ds.PatientName) == name
        assert (ds.StudyDescription, ds.PatientID, ds.AccessionNumber) == (description, "P1", "A1")
        assert len(ds.ContributingEquipmentSequence) == 2
        if result.kind != "labelmap":
            assert made.dciodvfy(result.path) == []
    assert [frame.path.read_bytes() for frame in volume.frames] == before


def test_japanese_words_stay_in_the_character_set_of_the_source(tmp_path: Path) -> None:
    """Not every PACS that keeps names in ISO 2022 IR 87 reads UTF-8; a name of other bytes may be another patient's."""
    charset, name = ["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"
    volume = made.volume(tmp_path / "s", SpecificCharacterSet=charset, PatientName=name)
    source = pydicom.dcmread(volume.frames[0].path).get_item("PatientName").value
    for text, label in (("肝臓 (liver)", "肝臓 (liver)"), ("größe", "Grosse"), ("조직 肝", "JoJig Gan")):
        plan = made.plan([text], outputs=("seg", "sr", "rtstruct", "secondary", "labelmap"))
        found = made.found(plan, made.masks(volume.grid.shape, 1))
        rule = {"name": "abdomen", "when": {"Modality": "CT"}, "prompts": [text], "receipt": "always"}
        config = Config.model_validate({"version": 1, "model": {"engine": "phantom"}, "rules": [rule]})
        results = encode(output_context(plan, volume, found, config=config, directory=tmp_path / "out"), config)
        objects = {result.kind: pydicom.dcmread(result.path) for result in results}
        del objects["secondary"]  # the text is in its pixels alone
        assert all(ds.SpecificCharacterSet == charset for ds in objects.values())
        assert all(ds.get_item("PatientName").value == source for ds in objects.values())
        (segment,) = objects["seg"].SegmentSequence
        assert segment.get_item("SegmentLabel").value.decode("iso2022_jp").startswith(label)
        assert segment.SegmentLabel == f"{label} {TEST_MARK}"
        assert segment.SegmentDescription.casefold() == label.casefold()
        assert objects["rtstruct"].RTROIObservationsSequence[0].ROIObservationLabel == label
        assert f"  {label}  found, " in objects["receipt"].ImageComments
        assert all((ASCII_WORDS in result.warnings) == (label != text) for result in results)


def test_the_receipt_says_what_was_found_and_what_not(tmp_path: Path) -> None:
    volume = replace(made.volume(tmp_path / "s"), warnings=("2 slices are missing",))
    plan = made.plan(["liver", "spleen"], options=PlanOptions(incomplete="lost link"))
    arrays = made.masks(volume.grid.shape, 2)
    arrays[1][:] = False
    found = made.found(plan, arrays)
    header = pydicom.dcmread(volume.frames[0].path)
    header.SeriesDescription = "ABD  PORTAL"
    lines = statement_of(plan, maker_of(plan), volume, found, header).lines
    assert lines[1:3] == ["Series      4, ABD PORTAL", "Series UID  2.25.12"]
    assert "Found       1 of 2" in lines
    assert f"  Liver   found, {arrays[0].sum() * 2.5 * 0.75 * 0.8 / 1000:.4g} mL" in lines
    assert "  Spleen  NOT FOUND" in lines
    assert "! 2 slices are missing" in lines
    assert "! the series is incomplete: lost link" in lines
    assert not any("Doe" in line or "P1" in line.split() for line in lines), "patient data are burned in"
    result = encode_receipt(OutputContext(plan, volume, found, directory=tmp_path))
    assert made.dciodvfy(result.path) == []
    pixels = pydicom.dcmread(result.path).pixel_array
    assert 0.005 < np.mean(pixels.max(axis=2) > 200) < 0.2  # words on black


@pytest.mark.parametrize(
    ("wish", "masks", "kinds"),
    [
        ("never", (True, False), ["seg"]),
        ("never", (False, False), []),
        ("on_problem", (True, True), ["seg"]),
        ("on_problem", (True, False), ["seg", "receipt"]),
        ("on_problem", (False, False), ["receipt"]),
        ("always", (True, True), ["seg", "receipt"]),
    ],
)
def test_when_a_receipt_is_made(tmp_path: Path, wish: str, masks: tuple[bool, bool], kinds: list[str]) -> None:
    rule = {"name": "abdomen", "when": {"Modality": "CT"}, "prompts": ["liver", "spleen"], "receipt": wish}
    config = Config.model_validate({"version": 1, "model": {"engine": "phantom"}, "rules": [rule]})
    volume = made.volume(tmp_path / "s")
    plan = made.plan(["liver", "spleen"])
    found = made.found(plan, [np.full(volume.grid.shape, mask) for mask in masks])
    results = encode(output_context(plan, volume, found, config=config, directory=tmp_path / "out"), config)
    assert [result.kind for result in results] == kinds

"""Which rules a series meets, and the explanation of each condition."""

from __future__ import annotations

import time
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, EnhancedMRImageStorage, SecondaryCaptureImageStorage, SegmentationStorage

from voxtell_dicom.config import PromptSettings, Rule
from voxtell_dicom.model import Cleanup, Resampling, dump
from voxtell_dicom.rules import Match, label_of, match, prompts


def header(**attributes: Any) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.Modality = "CT"
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def rule(name: str = "r", prompt: Any = "liver", **when: Any) -> Rule:
    return Rule(name=name, when={"Modality": "CT", **when}, prompts=[prompt])


def one(headers: list[Dataset], facts: dict[str, Any] | None = None, **when: Any) -> Match:
    (found,) = match([rule(**when)], headers, facts or {})
    return found


@pytest.mark.parametrize(
    ("attributes", "when", "met", "found"),
    [
        ({"SliceThickness": "5.0"}, {"SliceThickness": 5}, True, "5"),
        ({"SliceThickness": "5.0"}, {"SliceThickness": "5"}, True, "5"),
        ({"SliceThickness": "5.0"}, {"SliceThickness": {"at_most": 5}}, True, "5"),
        ({"SliceThickness": "5.1"}, {"SliceThickness": {"at_most": 5}}, False, "5.1"),
        ({"SliceThickness": "5.1"}, {"SliceThickness": {"at_least": 5, "at_most": 6}}, True, "5.1"),
        ({}, {"SliceThickness": {"at_most": 5}}, False, "absent"),
        ({"SliceThickness": None}, {"SliceThickness": {"at_most": 5}}, False, "absent"),
        ({"SliceThickness": None}, {"SliceThickness": {"absent": True}}, True, "absent"),
        ({"SliceThickness": 1}, {"SliceThickness": {"absent": True}}, False, "1"),
        ({"SliceThickness": 1}, {"SliceThickness": {"absent": False}}, True, "1"),
        ({}, {"SliceThickness": {"absent": False}}, False, "absent"),
        ({"BodyPartExamined": "CHEST"}, {"BodyPartExamined": ["ABDOMEN", "CHEST"]}, True, "CHEST"),
        ({"BodyPartExamined": "CHEST"}, {"BodyPartExamined": ["ABDOMEN", "HEAD"]}, False, "CHEST"),
        ({"BodyPartExamined": "CHEST "}, {"BodyPartExamined": "CHEST"}, True, "CHEST"),
        ({"SeriesDescription": "Abd liver"}, {"SeriesDescription": {"matches": "(?i)LIVER"}}, True, "Abd liver"),
        ({"SeriesDescription": "Thorax"}, {"SeriesDescription": {"matches": "(?i)LIVER"}}, False, "Thorax"),
        ({"SeriesDescription": "Abd loc"}, {"SeriesDescription": {"not_matches": "(?i)LOC"}}, False, "Abd loc"),
        ({"SeriesDescription": "Abd"}, {"SeriesDescription": {"not_matches": "(?i)LOC"}}, True, "Abd"),
        ({"ImageType": ["ORIGINAL", "MIP"]}, {"ImageType": {"not_matches": "MIP"}}, False, "ORIGINAL\\MIP"),
        ({}, {"SeriesDescription": {"not_matches": "(?i)LOC"}}, True, "absent"),
        (
            {"SeriesDescription": "Thorax nativ 1.0 mm weich kurz !"},
            {"SeriesDescription": {"matches": r"^(\w+\s?)*$"}},
            False,
            "Thorax nativ 1.0 mm weich kurz !",
        ),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]}, {"ImageType": "PRIMARY"}, True, "ORIGINAL\\PRIMARY\\AXIAL"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]}, {"ImageType": "MIP"}, False, "ORIGINAL\\PRIMARY\\AXIAL"),
        ({"ConvolutionKernel": ["Br40d", "3"]}, {"ConvolutionKernel": {"matches": "^Br"}}, True, "Br40d\\3"),
        ({"PixelSpacing": [0.7, 0.9]}, {"PixelSpacing": {"at_least": 0.8}}, True, "0.7\\0.9"),
        ({"PatientAge": "008M"}, {"PatientAge": {"at_least": 18}}, False, "008M"),
        ({"PatientAge": "045Y"}, {"PatientAge": {"at_least": 18}}, True, "045Y"),
        ({"SOPClassUID": CTImageStorage}, {"SOPClassUID": "CTImageStorage"}, True, "1.2.840.10008.5.1.4.1.1.2"),
        ({"PatientName": "Doe^Jane"}, {"PatientName": {"matches": "^Doe"}}, True, "Doe^Jane"),
        ({"Rows": 512}, {"Rows": 512}, True, "512"),
        ({"RequestAttributesSequence": Sequence([Dataset()])}, {"RequestAttributesSequence": {"absent": True}}, False,
         "1 items"),
    ],
)  # fmt: skip
def test_condition(attributes: dict[str, Any], when: dict[str, Any], met: bool, found: str) -> None:
    result = one([header(**attributes)], **when)
    explained = result.conditions[1]
    assert (explained.met, explained.found) == (met, found)
    assert result.met is met


def test_must_hold_for_every_instance_and_says_how_many_differ() -> None:
    headers = [header(SliceThickness=3) for _ in range(40)] + [header(SliceThickness=8) for _ in range(2)]
    result = one(headers, SliceThickness={"at_most": 5})
    assert not result.met
    assert result.conditions[1].found == "3 (40×), 8 (2×)"
    assert result.why_not == "SliceThickness"
    assert one(headers, SliceThickness=[3, 8]).met


def test_missing_in_one_instance_is_not_met() -> None:
    assert not one([header(SliceThickness=3), header()], SliceThickness={"at_most": 5}).met
    assert not one([header(SliceThickness=3), header()], SliceThickness={"absent": True}).met


def enhanced(shared: dict[str, Any], frames: list[dict[str, Any]], macro: str = "PixelMeasuresSequence") -> Dataset:
    def group(values: dict[str, Any]) -> Dataset:
        outer = Dataset()
        if values:
            setattr(outer, macro, Sequence([header(**values)]))
        return outer

    dataset = header(SOPClassUID=EnhancedMRImageStorage)
    dataset.SharedFunctionalGroupsSequence = Sequence([group(shared)])
    dataset.PerFrameFunctionalGroupsSequence = Sequence([group(values) for values in frames])
    return dataset


def test_looked_up_at_the_top_then_shared_then_in_each_frame() -> None:
    assert one([enhanced({"SliceThickness": 4}, [{}, {}])], SliceThickness=4).met
    assert one([enhanced({}, [{"SliceThickness": 4}, {"SliceThickness": 4}])], SliceThickness=4).met
    mixed = one([enhanced({}, [{"SliceThickness": 4}, {"SliceThickness": 9}, {}])], SliceThickness={"at_most": 5})
    assert not mixed.met
    assert mixed.conditions[1].found == "4 (1×), 9 (1×), absent (1×)"
    top = enhanced({"SliceThickness": 4}, [{"SliceThickness": 9}])
    assert one([top], SliceThickness=4).met  # shared before per frame
    top.SliceThickness = 2
    assert one([top], SliceThickness=2).met


def test_facts() -> None:
    facts = {"instances": 42, "calling_ae": "CT1", "called_ae": "VOXTELL"}
    assert one([header()], facts, instances={"at_least": 30}, calling_ae=["CT1", "PACS"], called_ae="VOXTELL").met
    assert not one([header()], facts, instances={"at_least": 50}).met
    assert not one([header()], facts, calling_ae="CT2").met
    assert not one([header()], {}, calling_ae="CT1").met
    assert one([header(), header()], {}, instances=2).met  # without the fact: as many as there are headers


def test_volume_facts() -> None:
    facts = {"volume": {"plane": "axial", "slices": 40, "spacing_mm": 3.0}}
    assert one([header()], facts, volume={"plane": "axial", "slices": {"at_least": 30}}).met
    lost = one([header()], facts, volume={"plane": "coronal"})
    assert [(each.keyword, each.found, each.met) for each in lost.conditions[1:]] == [("volume.plane", "axial", False)]
    assert not one([header()], {}, volume={"plane": "axial"}).met


def test_several_rules_each_with_its_index() -> None:
    rules = [rule("a"), Rule(name="b", when={"Modality": "MR"}, prompts=["x"]), rule("c", SliceThickness=1)]
    found = match(rules, [header(SliceThickness=1)], {})
    assert [(each.rule.name, each.index, each.met) for each in found] == [
        ("a", 0, True),
        ("b", 1, False),
        ("c", 2, True),
    ]
    assert found[1].conditions[0].wanted == "MR"
    dump(found[0])  # travels as JSON


def test_no_headers_meet_nothing() -> None:
    assert not one([]).met


def test_results_and_non_images_start_nothing() -> None:
    for sop_class in (SegmentationStorage, SecondaryCaptureImageStorage, "1.2.840.10008.5.1.4.1.1.88.33"):
        found = one([header(SOPClassUID=sop_class)])
        assert not found.met
        assert found.why_not == "SOPClassUID"
    asked = one([header(SOPClassUID=SecondaryCaptureImageStorage)], SOPClassUID="SecondaryCaptureImageStorage")
    assert asked.met


def test_our_own_results_start_nothing_even_when_asked_for() -> None:
    ours = header(SOPClassUID=SegmentationStorage, Manufacturer="voxtell-dicom")
    assert one([ours], SOPClassUID="SegmentationStorage").why_not == "source"
    phantom = header(Manufacturer="voxtell-dicom phantom")
    assert one([phantom]).met


def test_prompts_are_resolved() -> None:
    settings = PromptSettings(text="right kidney", color="#b96f4a", threshold=0.4)
    first, second = prompts(Rule(name="r", when={"Modality": "CT"}, prompts=[" liver ", settings]))
    assert (first.text, first.label, first.color, first.threshold) == ("liver", "Liver", None, 0.5)
    assert (second.text, second.label, second.color, second.threshold) == (
        "right kidney",
        "Right kidney",
        "#b96f4a",
        0.4,
    )


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("liver", "Liver"),
        ("> 300", "> 300"),
        ("a" * 70, "A" + "a" * 63),
        ("lesion " * 9 + "x", "L" + ("lesion " * 9 + "x")[1:]),  # 64 characters exactly
        ("a hypodense lesion in the left lobe of the liver, with a halo around it, new",
         "A hypodense lesion in the left lobe of the liver, with a halo"),
        ("liver\\spleen", "Liver/spleen"),
        ("ödem", "Ödem"),
        ("肝臓", "肝臓"),
    ],
)  # fmt: skip
def test_label(text: str, label: str) -> None:
    assert label_of(text) == label
    assert len(label_of(text)) <= 64


def test_thousand_slices_are_quick() -> None:
    headers = [
        header(SliceThickness=3, SeriesDescription="Abd", ImageType=["ORIGINAL", "PRIMARY"]) for _ in range(1000)
    ]
    rules = [rule(f"r{number}", SliceThickness={"at_most": 5}, ImageType="PRIMARY") for number in range(20)]
    began = time.process_time()
    found = match(rules, headers, {})
    assert all(each.met for each in found)
    assert time.process_time() - began < 2


def test_only_the_frames_of_the_volume_count() -> None:
    whole = enhanced({}, [{"EchoTime": 5}, {"EchoTime": 5}, {"EchoTime": 80}])
    whole.SOPInstanceUID = "1.2.3"
    rules = [rule(EchoTime={"at_most": 10})]
    assert not match(rules, [whole], {})[0].met
    assert match(rules, [whole], {}, {"1.2.3": [1, 2]})[0].met
    assert not match(rules, [whole], {}, {"1.2.3": [3]})[0].met


def test_prompts_carry_what_is_done_to_their_masks() -> None:
    rule = Rule(
        name="r",
        when={"Modality": "CT"},
        prompts=["liver", {"text": "left kidney", "fill_holes": True, "minimum_ml": 2, "exclusive_group": "kidneys"}],
        resample={"spacing_mm": 1.5, "finer_than_mm": 0.6},
    )
    plain, cleaned = prompts(rule)
    assert plain.cleanup == Cleanup()
    assert cleaned.cleanup == Cleanup(fill_holes=True, minimum_ml=2)
    assert cleaned.exclusive_group == "kidneys"
    assert {plain.resampling, cleaned.resampling} == {Resampling(1.5, 0.6, None)}

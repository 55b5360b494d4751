"""One reading of functional groups, of rules, series, rescale and SUV."""

from __future__ import annotations

import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import EnhancedCTImageStorage

from voxtell_dicom.config import Rule
from voxtell_dicom.dicom.functional_groups import frame_header, frame_value, macro_items, shared_groups
from voxtell_dicom.dicom.rescale import Rescale, rescale_of
from voxtell_dicom.rules import match
from voxtell_dicom.rules.facts import kernel_family


def item(**values: object) -> Dataset:
    found = Dataset()
    for keyword, value in values.items():
        setattr(found, keyword, value)
    return found


@pytest.fixture
def header() -> Dataset:
    ds = item(Modality="CT", SOPClassUID=EnhancedCTImageStorage, SOPInstanceUID="2.25.1", NumberOfFrames=2, KVP=80)
    shared = item(
        PixelValueTransformationSequence=[item(RescaleSlope=1, RescaleIntercept=-1024)],
        CTXRayDetailsSequence=[item(KVP=120)],
    )
    private = shared.private_block(0x2005, "Philips MR Imaging DD 005", create=True)
    private.add_new(0x0F, "SQ", [item(ConvolutionKernel="B70f", EchoTime=99)])
    per_frame = [
        item(CTReconstructionSequence=[item(ConvolutionKernel="B40f")]),
        item(
            CTReconstructionSequence=[item(ConvolutionKernel="B50f")],
            PixelValueTransformationSequence=[item(RescaleSlope=2, RescaleIntercept=0)],
        ),
    ]
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = per_frame
    return ds


def test_a_frames_own_groups_come_before_the_shared_ones_and_the_top_level(header: Dataset) -> None:
    assert [frame_value(header, frame, "RescaleSlope") for frame in (1, 2, 3)] == [1, 2, 1]
    assert [rescale_of(header, frame) for frame in (1, 2)] == [Rescale(1.0, -1024.0), Rescale(2.0, 0.0)]
    assert frame_value(header, 1, "KVP") == 120
    assert frame_header(header, 2).ConvolutionKernel == "B50f"
    assert frame_value(item(KVP=80), 1, "KVP") == 80


def test_a_private_sequence_says_nothing_of_a_standard_attribute(header: Dataset) -> None:
    """0.1: the rules read it, the series room did not."""
    assert frame_value(header, 1, "EchoTime") is None
    rule = Rule(name="r", when={"Modality": "CT", "EchoTime": {"absent": True}}, prompts=["liver"])
    assert match([rule], [header], {})[0].met


def test_the_kernel_of_frames_is_known(header: Dataset) -> None:
    """0.1: only where it stood in the shared groups."""
    assert kernel_family(header) == "soft"
    rule = Rule(name="r", when={"Modality": "CT", "ConvolutionKernel": {"matches": "B[45]0f"}}, prompts=["liver"])
    assert match([rule], [header], {})[0].met


def test_a_broken_value_in_a_group_is_absent_and_hides_no_other(header: Dataset) -> None:
    """0.1: such an instance was unreadable as a whole in the series room."""
    shared = shared_groups(header)
    tag = Tag("FrameContentSequence")
    shared[tag] = RawDataElement(tag, "SQ", 4, b"\1\2\3\4", 0, False, True)
    assert frame_value(header, 1, "KVP") == 120
    assert len(macro_items(shared)) == 2

"""Which held-back SOP classes a rule lets in."""

from __future__ import annotations

from voxtell_dicom.config import Rule
from voxtell_dicom.rules.requested_classes import requested_classes

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"


def rule(**when: object) -> Rule:
    return Rule(name="r", when=when, prompts=["liver"])


def test_a_rule_without_a_class_lets_none_in() -> None:
    assert requested_classes([rule(Modality="CT")]) == frozenset()


def test_only_the_class_that_is_named() -> None:
    assert requested_classes([rule(Modality="OT", SOPClassUID=SECONDARY_CAPTURE), rule(Modality="CT")]) == {
        SECONDARY_CAPTURE
    }


def test_a_list_and_an_image_class() -> None:
    classes = [SECONDARY_CAPTURE, SEGMENTATION, "1.2.840.10008.5.1.4.1.1.2"]
    assert requested_classes([rule(Modality="CT", SOPClassUID=classes)]) == {SECONDARY_CAPTURE, SEGMENTATION}

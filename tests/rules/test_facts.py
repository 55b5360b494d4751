"""The facts of a volume that are computed, not described."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from voxtell_dicom.config import Rule
from voxtell_dicom.model import Frame, Grid, ToRas, Volume
from voxtell_dicom.rules import match_volume, volume_facts
from voxtell_dicom.rules.facts import contrast, kernel_family, plane
from voxtell_dicom.rules.keywords import VOLUME_FACTS
from voxtell_dicom.series.names import plane_of


def volume(frames: int = 40) -> Volume:
    places = [Frame("1.2.3", "1.2", number + 1, Path("x"), (0.0, 0.0, 3.0 * number)) for number in range(frames)]
    grid = Grid((frames, 512, 256), (0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (3.0, 0.7, 0.8))
    return Volume("1", "2", "3", "CT", "", tuple(places), grid, ToRas((0, 1, 2), (False, True, True)), "key")


def test_numbers_come_from_the_geometry() -> None:
    header = Dataset()
    header.ConvolutionKernel = "B70f"
    facts = volume_facts(volume(), header)
    assert facts == {
        "name": "", "modality": "CT", "plane": "axial", "slices": 40, "rows": 512, "columns": 256, "spacing_mm": 3.0,
        "pixel_mm": 0.8, "coverage_mm": 120.0, "contrast": "none", "kernel": "sharp",
        "kind": None, "echo_ms": None, "b_value": None, "temporal": None,
    }  # fmt: skip
    assert set(facts) == set(VOLUME_FACTS)


def test_what_tells_a_volume_from_others_of_its_series() -> None:
    header = Dataset()
    header.SOPInstanceUID, header.Modality = "1.2.3", "CT"
    one = replace(volume(), keys={"kind": "water", "echo_time": "2.4", "b_value": "800", "temporal": "3"})
    where = {"kind": "water", "echo_ms": {"at_most": 3}, "b_value": 800, "temporal": [3, 4]}
    rule = Rule(name="r", when={"Modality": "CT", "volume": where}, prompts=["x"])
    assert match_volume([rule], one, [header], {})[0].met
    assert not match_volume([rule], replace(one, keys={**one.keys, "b_value": "50"}), [header], {})[0].met
    assert not match_volume([rule], volume(), [header], {})[0].met


def test_rules_see_them() -> None:
    header = Dataset()
    header.SOPInstanceUID, header.Modality = "1.2.3", "CT"
    thin = {"plane": "axial", "spacing_mm": {"at_most": 3}, "coverage_mm": {"at_least": 100}, "kernel": "unknown"}
    rule = Rule(name="r", when={"Modality": "CT", "volume": thin}, prompts=["x"])
    assert match_volume([rule], volume(), [header], {})[0].met
    short = match_volume([rule], volume(20), [header], {})[0]
    assert short.why_not == "volume.coverage_mm"


def turned(degrees: float) -> tuple[float, float, float]:
    """A column direction that leans from the coronal axis (y) towards the feet-head axis (z)."""
    return (0.0, math.cos(math.radians(degrees)), math.sin(math.radians(degrees)))


@pytest.mark.parametrize(
    ("row", "column", "name"),
    [
        ((1, 0, 0), (0, 1, 0), "axial"),
        ((-1, 0, 0), (0, -1, 0), "axial"),
        ((1, 0, 0), (0, 0, -1), "coronal"),
        ((0, 1, 0), (0, 0, -1), "sagittal"),
        ((1, 0, 0), turned(29), "axial"),
        ((1, 0, 0), turned(31), "oblique"),
        ((1, 0, 0), turned(61), "coronal"),
        ((1, 0, 0), (1, 0, 0), "oblique"),
    ],
)
def test_plane(row: tuple[float, float, float], column: tuple[float, float, float], name: str) -> None:
    assert plane(row, column) == name
    assert plane_of(np.cross(row, column)) == name  # what `inspect` and the volumes' names say


@pytest.mark.parametrize(
    ("kernel", "family"),
    [
        ("Br40d", "soft"), ("B30f", "soft"), ("I31f", "soft"), ("Qr36", "soft"), ("Bl57d", "sharp"), ("B70f", "sharp"),
        ("STANDARD", "soft"), ("SOFT", "soft"), ("BONEPLUS", "sharp"), ("LUNG", "sharp"),
        ("FC18", "soft"), ("FC52", "sharp"), ("B", "soft"), ("YA", "sharp"), ("???", "unknown"), ("", "unknown"),
    ],
)  # fmt: skip
def test_kernel(kernel: str, family: str) -> None:
    header = Dataset()
    header.ConvolutionKernel = [kernel, "3"] if kernel == "Br40d" else kernel
    assert kernel_family(header) == family
    enhanced, group = Dataset(), Dataset()
    group.CTReconstructionSequence = Sequence([header])
    enhanced.SharedFunctionalGroupsSequence = Sequence([group])
    assert kernel_family(enhanced) == family


def test_contrast() -> None:
    for agent, found in (("", "none"), ("NONE", "none"), ("Ultravist 370", "given")):
        header = Dataset()
        header.ContrastBolusAgent = agent
        assert contrast(header) == found
    coded = Dataset()
    coded.ContrastBolusAgentSequence = Sequence([Dataset()])
    assert contrast(coded) == "given"
    assert contrast(Dataset()) == "none"

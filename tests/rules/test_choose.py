"""The best volume of a study, and why each other one lost."""

from __future__ import annotations

from pathlib import Path

from pydicom.dataset import Dataset

from voxtell_dicom.config import Rule
from voxtell_dicom.model import Frame, Grid, ToRas, Vector, Volume
from voxtell_dicom.rules.choose import Candidate, choose

AXIAL: tuple[Vector, Vector] = ((1, 0, 0), (0, 1, 0))
CORONAL: tuple[Vector, Vector] = ((1, 0, 0), (0, 0, -1))


def candidate(
    uid: str, spacing: float, slices: int, kernel: str = "Br40d", plane: tuple[Vector, Vector] = AXIAL
) -> Candidate:
    frames = tuple(Frame(f"{uid}.{n}", "1.2", 1, Path("x"), (0.0, 0.0, spacing * n)) for n in range(slices))
    grid = Grid((slices, 512, 512), (0, 0, 0), *plane, (0, 0, 1), (spacing, 0.8, 0.8))
    volume = Volume("1", uid, "3", "CT", "", frames, grid, ToRas((0, 1, 2), (False, True, True)), "")
    header = Dataset()
    header.Modality, header.ConvolutionKernel = "CT", kernel
    return Candidate(volume, (header,), {"instances": slices})


RULE = Rule(
    name="liver", scope="series", prompts=["liver"],
    when={"Modality": "CT", "volume": {"plane": "axial", "kernel": "soft", "coverage_mm": {"at_least": 100}}},
)  # fmt: skip
BEST = ["thinnest", "most slices"]
STUDY = [
    candidate("1.scout", 5, 3),
    candidate("2.thick", 5, 60),
    candidate("3.thin", 1, 300),
    candidate("4.sharp", 1, 300, kernel="Br64d"),
    candidate("5.coronal", 0.9, 400, plane=CORONAL),
]


def test_the_thin_soft_axial_wins_and_each_loss_has_its_reason() -> None:
    ranked = choose(RULE, 3, STUDY, BEST)
    assert [each.candidate.volume.series_uid for each in ranked][:2] == ["3.thin", "2.thick"]
    lost = {each.candidate.volume.series_uid: each.lost for each in ranked}
    assert lost == {
        "3.thin": "",
        "2.thick": "thinnest: 5 mm between slices, the chosen one has 1 mm between slices",
        "1.scout": "does not meet volume.coverage_mm",
        "4.sharp": "does not meet volume.kernel",
        "5.coronal": "does not meet volume.plane",
    }
    assert ranked[0].match.index == 3
    assert ranked[0].match.prompts[0].label == "Liver"


def test_order_of_arrival_does_not_matter() -> None:
    for study in (STUDY, STUDY[::-1], STUDY[2:] + STUDY[:2]):
        assert choose(RULE, 0, study, BEST)[0].candidate.volume.series_uid == "3.thin"


def test_the_next_criterion_decides_a_tie() -> None:
    study = [candidate("a", 1.0, 200), candidate("b", 0.999, 300)]
    ranked = choose(RULE, 0, study, BEST)
    assert ranked[0].candidate.volume.series_uid == "b"
    assert ranked[1].lost == "most slices: 200 slices, the chosen one has 300 slices"
    assert choose(RULE, 0, study, ["largest"])[0].candidate.volume.series_uid == "b"
    even = choose(RULE, 0, [candidate("b", 1, 200), candidate("a", 1, 200)], BEST)
    assert [each.candidate.volume.series_uid for each in even] == ["a", "b"]
    assert even[1].lost.startswith("equal")


def test_nothing_meets_the_rule() -> None:
    ranked = choose(RULE, 0, STUDY[3:], BEST)
    assert all(each.lost for each in ranked)
    assert choose(RULE, 0, [], BEST) == []

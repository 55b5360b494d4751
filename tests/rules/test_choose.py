"""The best volume of a study, and why each other one lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from pydicom.dataset import Dataset

from voxtell_dicom.config import Criterion, Rule
from voxtell_dicom.model import Frame, Grid, ToRas, Vector, Volume
from voxtell_dicom.rules import match_volume
from voxtell_dicom.rules.choose import CRITERIA, Candidate, as_good, choose

AXIAL: tuple[Vector, Vector] = ((1, 0, 0), (0, 1, 0))
CORONAL: tuple[Vector, Vector] = ((1, 0, 0), (0, 0, -1))


def candidate(
    uid: str,
    spacing: float,
    slices: int,
    kernel: str = "Br40d",
    plane: tuple[Vector, Vector] = AXIAL,
    rules: tuple[Rule, ...] = (),
    stack: str = "",
) -> Candidate:
    frames = tuple(Frame(f"{uid}.{n}", "1.2", 1, Path("x"), (0.0, 0.0, spacing * n)) for n in range(slices))
    grid = Grid((slices, 512, 512), (0, 0, 0), *plane, (0, 0, 1), (spacing, 0.8, 0.8))
    volume = Volume("1", uid, "3", "CT", "", frames, grid, ToRas((0, 1, 2), (False, True, True)), "", stack=stack)
    header = Dataset()
    header.Modality, header.ConvolutionKernel = "CT", kernel
    return Candidate(volume, tuple(match_volume(rules or (OTHER, RULE), volume, [header], {})))


def rule(**choice: Any) -> Rule:
    return Rule.model_validate(
        {"name": "liver", "scope": "study", "when": {"Modality": "CT"}, "choose": choice, "prompts": ["liver"]}
    )


OTHER = rule()
RULE = rule(where={"plane": "axial", "kernel": "soft", "coverage_mm": {"at_least": 100}})
STUDY = [
    candidate("1.scout", 5, 3),
    candidate("2.thick", 5, 60),
    candidate("3.thin", 1, 300),
    candidate("4.sharp", 1, 300, kernel="Br64d"),
    candidate("5.coronal", 0.9, 400, plane=CORONAL),
]


def test_the_thin_soft_axial_wins_and_each_loss_has_its_reason() -> None:
    ranked = choose(1, STUDY)
    assert [each.candidate.volume.series_uid for each in ranked][:2] == ["3.thin", "2.thick"]
    lost = {each.candidate.volume.series_uid: each.lost for each in ranked}
    assert lost == {
        "3.thin": "",
        "2.thick": "thinnest: 5 mm between slices, the chosen one has 1 mm between slices",
        "1.scout": "does not meet volume.coverage_mm",
        "4.sharp": "does not meet volume.kernel",
        "5.coronal": "does not meet volume.plane",
    }
    assert ranked[0].match.index == 1
    assert ranked[0].match.prompts[0].label == "Liver"


def test_order_of_arrival_does_not_matter() -> None:
    for study in (STUDY, STUDY[::-1], STUDY[2:] + STUDY[:2]):
        assert choose(1, study)[0].candidate.volume.series_uid == "3.thin"


def test_the_next_criterion_decides_a_tie() -> None:
    study = [candidate("a", 1.0, 200), candidate("b", 0.999, 300)]
    ranked = choose(1, study)
    assert ranked[0].candidate.volume.series_uid == "b"
    assert ranked[1].lost == "most slices: 200 slices, the chosen one has 300 slices"
    even = choose(1, [candidate("b", 1, 200), candidate("a", 1, 200)])
    assert [each.candidate.volume.series_uid for each in even] == ["a", "b"]
    assert even[1].lost.startswith("equal")


def test_nothing_meets_the_rule() -> None:
    ranked = choose(1, STUDY[3:])
    assert len(ranked) == 2
    assert all(each.lost for each in ranked)
    assert choose(1, []) == []


def test_each_criterion_that_node_yaml_knows() -> None:
    assert set(CRITERIA) == set(get_args(Criterion))
    for name, winner in (("thinnest", "thin"), ("most slices", "thin"), ("longest", "long")):
        rules = (rule(best=[name]),)
        study = [candidate("long", 5, 100, rules=rules), candidate("thin", 1, 400, rules=rules)]
        assert choose(0, study)[0].candidate.volume.series_uid == winner


def test_the_runs_of_the_chosen_stack_are_chosen_together() -> None:
    runs = [candidate("a", 2, 60, stack="s"), candidate("b", 1.5, 70, stack="s"), candidate("a", 1, 100, stack="s")]
    ranked = choose(1, runs)
    assert [(each.candidate.volume.series_uid, bool(each.lost)) for each in ranked] == [
        ("a", False),
        ("a", False),
        ("b", True),
    ]
    assert ranked[0].standing == ranked[1].standing == ("1.375 mm between slices", "160 slices")


def test_a_stack_of_runs_is_one_candidate() -> None:
    """Each run has fewer slices than the other series; together they have more, and less thin ones than the first."""
    runs = [candidate("a", 1, 100, stack="s"), candidate("a", 5, 100, stack="s")]
    ranked = choose(1, [*runs, candidate("b", 2, 120)])
    assert [(each.candidate.volume.series_uid, each.lost) for each in ranked] == [
        ("b", ""),
        ("a", "thinnest: 3 mm between slices, the chosen one has 2 mm between slices"),
        ("a", "thinnest: 3 mm between slices, the chosen one has 2 mm between slices"),
    ]
    rules = (rule(best=["most slices"], where={"spacing_mm": {"at_most": 4}}),)
    runs = [candidate("a", 1, 100, rules=rules, stack="s"), candidate("a", 5, 100, rules=rules, stack="s")]
    ranked = choose(0, [*runs, candidate("b", 2, 120, rules=rules)])
    assert [each.candidate.volume.series_uid for each in ranked if not each.lost] == ["b"]  # one run alone meets it


def test_which_of_two_volumes_may_stay() -> None:
    thin, thick = candidate("thin", 1, 300).volume, candidate("thick", 5, 60).volume
    best = RULE.choose.best
    assert as_good(thin, thick, best)
    assert as_good(thin, candidate("same", 1, 300).volume, best)
    assert not as_good(thick, thin, best)

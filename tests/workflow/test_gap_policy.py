"""`max_gap` of a rule: one rule bridges a missing slice, another refuses it by name."""

from __future__ import annotations

from pathlib import Path

from tests.series import slices
from voxtell_dicom.config import Rule
from voxtell_dicom.line.plan import PlanContext, Planning, missing_slices, plan_series
from voxtell_dicom.model import PlanOptions, Series


def with_gap(folder: Path) -> Series:
    datasets = [ds for index, ds in enumerate(slices.stack(slices.noise((9, 24, 20)))) if index != 4]
    return slices.save(datasets, folder / "series")


def planned(folder: Path, *rules: Rule, incomplete: str = "") -> Planning:
    options = PlanOptions(incomplete=incomplete)
    series, work = with_gap(folder), folder / "work"
    return plan_series(series, rules, PlanContext("e", "1", work), options)


def rule(name: str, max_gap: float = 1.5) -> Rule:
    return Rule(name=name, when={"Modality": "CT"}, prompts=["> 300"], max_gap=max_gap)


def test_refused_by_default(tmp_path: Path) -> None:
    found = planned(tmp_path, rule("strict"))
    assert not found.planned
    assert [item.code for item in found.set_aside] == ["missing-slice"]


def test_each_rule_has_its_own_policy(tmp_path: Path) -> None:
    found = planned(tmp_path, rule("strict"), rule("lenient", 2))
    (one,) = found.planned
    assert [plan.rule for plan in one.plans] == ["lenient"]
    assert one.volume.canvas == (9, 24, 20)
    (refused,) = found.set_aside
    assert (refused.code, refused.refused) == ("missing-slice", True)
    assert "'strict' allows 1.5" in refused.reason


def test_what_a_rule_bridges_is_not_incomplete_to_it(tmp_path: Path) -> None:
    """Contracts § 2: the series waits for its missing slices as for a lost link; then the rule's word counts."""
    lacks = missing_slices(with_gap(tmp_path / "look"))
    assert "a gap of 4.000 mm" in lacks
    (one,) = planned(tmp_path / "gap", rule("lenient", 2), incomplete=lacks).planned
    assert one.plans[0].options == PlanOptions()
    assert any(warning.startswith("gap:") for warning in one.volume.warnings)
    (one,) = planned(tmp_path / "link", rule("lenient", 2), incomplete=f"a lost link; {lacks}").planned
    assert one.plans[0].options == PlanOptions(incomplete=f"a lost link; {lacks}")

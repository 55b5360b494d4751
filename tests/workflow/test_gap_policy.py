"""`max_gap` of a rule: one rule bridges a missing slice, another refuses it by name."""

from __future__ import annotations

from pathlib import Path

from tests.series import slices
from voxtell_dicom.config import Rule
from voxtell_dicom.workflow.planning import Planning, plan_series


def planned(folder: Path, *rules: Rule) -> Planning:
    datasets = [ds for index, ds in enumerate(slices.stack(slices.noise((9, 24, 20)))) if index != 4]
    series = slices.save(datasets, folder / "series")
    return plan_series(series, rules, engine_identity="e", encoder_revision="1", work_dir=folder / "work", options={})


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

"""A stack whose spacing changes is one job: planned, segmented run after run, checked; what lacks is said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from tests.series import cases, slices
from voxtell_dicom.check import findings
from voxtell_dicom.config import Rule
from voxtell_dicom.line.load import arrays_of
from voxtell_dicom.line.masks import Answer
from voxtell_dicom.line.plan import PlanContext, Planned, Planning, job_id, plan_series
from voxtell_dicom.line.segment import found_for, request_for
from voxtell_dicom.model import Found, Mask, Plan, PlanOptions, Prompt, Series, Volume, dump, load
from voxtell_dicom.series.headers import assemble
from voxtell_dicom.series.joined import joined
from voxtell_dicom.series.volume import to_ras
from voxtell_dicom.workflow.messages import SegmentMessage


def three(folder: Path, more: Sequence[Any] = ()) -> Series:
    """Runs of 6 slices 2 mm apart, 5 at 5 mm, 4 at 1 mm, from below; `more` datasets of the same series."""
    return slices.save(
        cases.many(
            slices.stack(slices.noise((6, 24, 20))),
            slices.stack(slices.noise((5, 24, 20), 1), spacing=(5.0, 1, 1), origin=(-10, -20, -16)),
            slices.stack(slices.noise((4, 24, 20), 2), spacing=(1.0, 1, 1), origin=(-10, -20, 8)),
            more,
        ),
        folder,
    )


def rule(name: str = "all", volume: dict[str, Any] | None = None, **more: Any) -> Rule:
    when = {"Modality": "CT", **({"volume": volume} if volume else {})}
    return Rule.model_validate({"name": name, "when": when, "prompts": ["> 300"], **more})


def planned(series: Series, folder: Path, *rules: Rule, **options: Any) -> Planning:
    return plan_series(series, rules, PlanContext("e", "1", folder), PlanOptions(**options))


def test_one_plan_for_the_stack(tmp_path: Path) -> None:
    found = planned(three(tmp_path / "ct"), tmp_path / "work", rule(), rule("too"))
    (one,) = found.planned
    assert (found.volumes, found.unmatched, found.set_aside) == (3, (), ())
    assert [len(run.frames) for run in one.volume.runs] == [6, 5, 4]
    assert [plan.rule for plan in one.plans] == ["all", "too"]
    assert {plan.volume_key for plan in one.plans} == {one.volume.key}
    for run, array in zip(one.volume.runs, one.arrays, strict=True):
        np.testing.assert_array_equal(np.load(array), to_ras(run))
    assert arrays_of(tmp_path / "work", one.volume, "stored") == one.arrays  # where `jobs retry` looks for them
    assert load(Planned, dump(one)) == one
    assert all(not plan.options.incomplete for plan in one.plans)


def test_a_rule_may_want_some_runs_alone(tmp_path: Path) -> None:
    thin, thinner = rule("thin", {"spacing_mm": {"at_most": 2}}), rule("thinner", {"spacing_mm": {"at_most": 1}})
    found = planned(three(tmp_path / "ct"), tmp_path / "work", rule(), thin, thinner)
    by_rule = {plan.rule: one for one in found.planned for plan in one.plans}
    assert {name: len(one.arrays) for name, one in by_rule.items()} == {"all": 3, "thin": 2, "thinner": 1}
    assert by_rule["thin"].volume.name == "run 1, 3 of 3"
    assert by_rule["thinner"].volume.name == "run 3 of 3, 1.00 mm apart"
    for name, one in by_rule.items():
        (said,) = one.volume.warnings
        assert said.startswith("runs: the spacing changes along the stack" + ("" if name == "all" else "; only run"))
    # each pass drops its own files when it is done
    assert len({array for one in found.planned for array in one.arrays}) == 6
    # the runs that are here do not stand for the one between them that is not
    assert sum(by_rule["thin"].volume.frame_mm) == pytest.approx(6 * 2 + 4 * 1)


@pytest.mark.parametrize(("broken", "left"), [((1,), "run 1, 3 of 3"), ((0, 2), "run 2 of 3, 5.00 mm apart")])
def test_a_refused_run_is_said_to_be_missing(broken: tuple[int, ...], left: str, tmp_path: Path) -> None:
    series = three(tmp_path / "ct")
    names = {}
    for position in broken:
        run = assemble(series).volumes[position]
        names[run.name] = run
        ds = pydicom.dcmread(run.frames[2].path)
        ds.PixelData = ds.PixelData[:100]
        ds.save_as(run.frames[2].path)
    found = planned(series, tmp_path / "work", rule(), incomplete="lost link")
    (one,) = found.planned
    assert one.volume.name == left
    assert [item.code for item in found.set_aside] == ["pixels"] * len(broken)
    incomplete = one.plans[0].options.incomplete
    assert incomplete == "; ".join(["lost link", *(f"{name} is not in the result (pixels)" for name in names)])
    assert len(list((tmp_path / "work").iterdir())) == len(one.arrays)


def test_all_runs_refused(tmp_path: Path) -> None:
    series = three(tmp_path / "ct")
    for run in assemble(series).volumes:
        ds = pydicom.dcmread(run.frames[0].path)
        ds.PixelData = ds.PixelData[:100]
        ds.save_as(run.frames[0].path)
    found = planned(series, tmp_path / "work", rule())
    assert not found.planned
    assert [item.code for item in found.set_aside] == ["pixels"] * 3


def test_the_default_choice_takes_the_stack_for_one(tmp_path: Path) -> None:
    """A coronal of nine slices is larger than each run of the stack, and smaller than the stack."""
    coronal = slices.stack(slices.noise((9, 24, 20), 5), orientation=slices.CORONAL)
    (one,) = planned(three(tmp_path / "small", coronal), tmp_path, rule()).planned
    assert len(one.volume.runs) == 3
    coronal = slices.stack(slices.noise((19, 24, 20), 5), orientation=slices.CORONAL)
    (one,) = planned(three(tmp_path / "large", coronal), tmp_path, rule()).planned
    assert (one.volume.name, len(one.volume.runs)) == ("coronal", 1)


def test_work_that_was_queued_before_is_read(tmp_path: Path) -> None:
    series = slices.save(slices.stack(slices.noise((6, 24, 20))), tmp_path / "ct")
    (one,) = planned(series, tmp_path / "work", rule()).planned
    old = dump(one)
    old["array"] = old.pop("arrays")[0]
    for name in ("parts", "stack"):
        del old["volume"][name]
    message = SegmentMessage.read({"v": 1, "id": f"segment:{job_id('a')}", "jobs": ["a"], "planned": old})
    assert message == SegmentMessage(("a",))


def test_what_is_said_of_a_mask_is_said_of_all_its_runs(tmp_path: Path) -> None:
    volume = joined(assemble(three(tmp_path)).volumes[:2])
    prompts = (Prompt("a", "A"), Prompt("b", "B"), Prompt("c", "C"))
    plan = Plan("key", "r", 0, prompts, ("seg",), (), "e", "1")

    def answers(run: Volume, count: int, *said: float | None) -> list[Answer]:
        full, none = np.zeros(run.shape_zyx, bool), Mask.from_array(np.zeros(run.shape_zyx, bool))
        full[0, 0, :count] = True
        requests = [request_for(plan, prompt) for prompt in prompts]
        return [
            Answer(requests[0], Mask.from_array(full), *said),
            Answer(requests[1], Mask.from_array(full) if count == 2 else none, 0.5, 0.25),
            Answer(requests[2], none, None, 0.9),
        ]

    found = found_for(plan, volume, [answers(volume.parts[0], 2, 0.6, 0.1), answers(volume.parts[1], 6, 0.8, None)])
    assert [item.mask.voxels for item in found] == [8, 2, 0]
    assert [item.mean_probability for item in found] == [pytest.approx((0.6 * 2 + 0.8 * 6) / 8), 0.5, None]
    assert [item.uncertain_share for item in found] == [0.1, 0.25, None]


def body(folder: Path) -> Volume:
    """A body 320 mm wide in two runs, 6 slices 5 mm apart and 6 at 10 mm; the lower one shifted 8 mm to the right."""
    stored = np.zeros((12, 60, 100), np.uint16)
    stored[:6, 10:50, 8:88] = 1064
    stored[6:, 10:50, 10:90] = 1064
    lower = slices.stack(stored[:6], spacing=(5.0, 5.0, 4.0), origin=(-198, -150, 0))
    upper = slices.stack(stored[6:], spacing=(10.0, 5.0, 4.0), origin=(-198, -150, 33))
    return joined(assemble(slices.save(cases.many(lower, upper), folder)).volumes)


def test_the_self_check_judges_the_stack(tmp_path: Path) -> None:
    volume = body(tmp_path / "ct")
    arrays = [tmp_path / "0.npy", tmp_path / "1.npy"]
    for run, array in zip(volume.runs, arrays, strict=True):
        np.save(array, to_ras(run))

    def checked(text: str, frames: slice, columns: slice) -> list[str]:
        mask = np.zeros(volume.grid.shape, bool)
        mask[frames, 20:30, columns] = True
        against = findings.check([Found(Prompt(text, text), Mask.from_array(mask))], volume, arrays)
        return [str(finding) for finding in against]

    right = slice(15, 30)
    assert checked("right adrenal gland", slice(4, 8), right) == []  # across the join: no edge there
    (said,) = checked("left adrenal gland", slice(4, 8), right)
    assert said.startswith("laterality: left adrenal gland: its centre lies")
    assert checked("left adrenal gland", slice(0, 3), slice(70, 80)) == [
        "edge: left adrenal gland: touches the first slice of the volume; it may be cut off"
    ]
    # 10 × 100 pixels of 20 mm² in frames that stand for 5, 6.5 (8 mm to the next run), 9 and 10 mm
    said = checked("gallbladder", slice(4, 8), slice(0, 100))
    assert "volume: gallbladder: 610.0 mL, where 1 to 500 mL are plausible" in said
    arrays[0].unlink()
    assert [one.split(":")[0] for one in checked("left adrenal gland", slice(4, 8), right)] == ["laterality"]


def test_each_rule_has_its_own_word_on_a_gap_in_a_run(tmp_path: Path) -> None:
    """A slice is missing in one run: the strict rule gets the rest of the stack, and says what it lacks."""
    case = next(case for case in cases.CASES if case.name == "missing-slice-in-a-run")
    series = case.write(tmp_path / "ct")
    name = "run 1 of 2, 2.00 mm apart is not in the result (missing-slice)"
    alone = planned(series, tmp_path / "alone", rule("strict"))
    both = planned(series, tmp_path / "both", rule("strict"), rule("lax", max_gap=2))
    for found in (alone, both):
        assert [item.code for item in found.set_aside] == ["missing-slice"]
        options = {plan.rule: plan.options for one in found.planned for plan in one.plans}
        assert options.pop("strict").incomplete == name
        assert not options.get("lax", PlanOptions()).incomplete
    assert [len(one.volume.frames) for one in alone.planned] == [6]
    assert sorted(len(one.volume.frames) for one in both.planned) == [6, 11]
    assert next(one for one in both.planned if len(one.arrays) == 2).volume.frame_mm[2] == pytest.approx(2)


def test_what_lies_between_two_runs_may_be_missing(tmp_path: Path) -> None:
    lower = slices.stack(slices.noise((6, 24, 20)))
    upper = slices.stack(slices.noise((5, 24, 20), 1), spacing=(5.0, 1, 1), origin=(-10, -20, -11))
    series = slices.save(cases.many(lower, upper), tmp_path / "ct")
    found = planned(series, tmp_path / "work", rule("strict"), rule("lax", max_gap=2))
    (one,) = found.planned
    options = {plan.rule: plan.options for plan in one.plans}
    assert options["strict"].incomplete == "9.00 mm between run 1 and run 2 is not in the result (missing-slice)"
    assert not options["lax"].incomplete
    assert any(warning.startswith("gap: 9.00 mm between run 1 and run 2") for warning in one.volume.warnings)

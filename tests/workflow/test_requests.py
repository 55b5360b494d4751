"""From prompts to requests and back: equal requests are asked once, each plan takes its own masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from voxtell_dicom.line.masks import Answer, load_answers, load_found, save_answers, save_found
from voxtell_dicom.line.segment import found_for, request_for
from voxtell_dicom.model import Cleanup, Frame, Grid, Mask, Plan, Prompt, Request, ToRas, Volume

SHAPE = (3, 4, 5)
GRID = Grid(SHAPE, (0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2.0, 1.0, 1.0))
FRAMES = tuple(Frame(f"1.{i}", "1.2.840.10008.5.1.4.1.1.2", 1, Path(f"{i}.dcm"), (0.0, 0.0, 2.0 * i)) for i in range(3))
VOLUME = Volume("1", "1.1", "1.2", "CT", "", FRAMES, GRID, ToRas((0, 1, 2), (False, True, True)), "key")


def plan(rule: str, *prompts: Prompt) -> Plan:
    return Plan("key", rule, 0, prompts, ("seg",), (), "engine", "1")


def test_groups_of_two_rules_are_not_one_group() -> None:
    prompt = Prompt("liver", "Liver", exclusive_group="organs")
    assert request_for(plan("a", prompt), prompt) != request_for(plan("b", prompt), prompt)
    assert request_for(plan("a", Prompt("x", "X")), Prompt("x", "X")) == request_for(
        plan("b", Prompt("x", "Y")), Prompt("x", "Y")
    )


def test_each_plan_takes_its_own_masks_on_the_source_frames(tmp_path: Path) -> None:
    plain, cleaned = Prompt("a", "A"), Prompt("a", "A cleaned", cleanup=Cleanup(fill_holes=True))
    first, second = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    first[0, 0, 0] = second[2, 1, 3] = True
    both = plan("r", plain, cleaned)
    answers = [
        Answer(request_for(both, cleaned), Mask.from_array(second), 0.9),
        Answer(request_for(both, plain), Mask.from_array(first), 0.8),
    ]
    save_answers(tmp_path / "answers.json", answers)
    found = found_for(both, VOLUME, [load_answers(tmp_path / "answers.json")])
    assert [item.prompt for item in found] == [plain, cleaned]
    assert [item.mean_probability for item in found] == [0.8, 0.9]
    # RAS voxel (z, y, x) = (0, 0, 0) is the last row and column of the first frame.
    assert np.argwhere(found[0].mask.to_array(SHAPE)).tolist() == [[0, 3, 4]]
    assert np.argwhere(found[1].mask.to_array(SHAPE)).tolist() == [[2, 2, 1]]
    save_found(tmp_path / "found.json", found)
    assert load_found(tmp_path / "found.json") == found


def test_mask_files_of_version_0_1_are_read(tmp_path: Path) -> None:
    mask = Mask.from_array(np.ones((3, 4, 5), bool))
    answers = (Answer(Request("liver"), mask, 0.9),)
    save_answers(tmp_path / "new", answers)
    (tmp_path / "old").write_bytes(TypeAdapter(tuple[Answer, ...]).dump_json(answers))
    assert load_answers(tmp_path / "new") == load_answers(tmp_path / "old") == answers

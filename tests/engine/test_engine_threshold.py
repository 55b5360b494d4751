from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from voxtell_dicom.engine import open_engine
from voxtell_dicom.errors import ModelError, UnknownPrompt
from voxtell_dicom.model import Request

ARRAY = np.array([-1000.5, -500, 0, 99, 100, 150.5, 200, 300, 300.5, 5e4, -3, 7], np.float32).reshape(2, 2, 3)


def _mask(prompt: str) -> np.ndarray:
    engine = open_engine(kind="threshold")
    (segment,) = engine.segment(
        ARRAY, (1, 1, 1), [Request(prompt)], progress=lambda a, b: None, cancelled=lambda: False
    )
    assert segment.mean_probability is None
    return segment.mask.to_array(ARRAY.shape)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("> 300", ARRAY > 300),
        (">300", ARRAY > 300),
        (">= 300", ARRAY >= 300),
        ("< -500", ARRAY < -500),
        ("<= -5e2", ARRAY <= -500),
        ("100..200", (ARRAY >= 100) & (ARRAY <= 200)),
        ("-10 .. .5", (ARRAY >= -10) & (ARRAY <= 0.5)),
        ("> 1e9", np.zeros(ARRAY.shape, bool)),
    ],
)
def test_a_comparison_selects_exactly_the_voxels_that_meet_it(prompt: str, expected: np.ndarray) -> None:
    assert np.array_equal(_mask(prompt), expected)


def test_a_prompt_that_is_no_comparison_is_unknown() -> None:
    engine = open_engine(kind="threshold")
    assert engine.unknown(["> 3", "liver", "3", "> x", "1..2..3"]) == ["liver", "3", "> x", "1..2..3"]
    with pytest.raises(UnknownPrompt, match=r"'liver'.*> 300"):
        list(engine.segment(ARRAY, (1, 1, 1), [Request("liver")], progress=lambda a, b: None, cancelled=lambda: False))


def test_cancelling_yields_no_more() -> None:
    engine = open_engine(kind="threshold")
    calls = iter([False, True])
    segments = engine.segment(
        ARRAY, (1, 1, 1), [Request("> 0"), Request("> 1")], progress=lambda a, b: None, cancelled=lambda: next(calls)
    )
    assert len(list(segments)) == 1


def test_it_needs_no_torch() -> None:
    code = (
        "import sys; from voxtell_dicom import engine;"
        "engine.keep_freed_memory(); engine.return_freed_memory();"
        "engine.worker_environment(); engine.phantom_directory();"
        "engine.open_engine(kind='threshold'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_model_directory_or_a_kind_not_both_not_neither() -> None:
    for arguments in ({}, {"directory": "x", "kind": "threshold"}):
        with pytest.raises(ModelError, match="either"):
            open_engine(**arguments)

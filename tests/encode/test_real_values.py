"""Reports measure, and pictures show, the values that the model saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.series import slices
from voxtell_dicom.dicom.headers import HeaderSource
from voxtell_dicom.encode.common.frame_values import FrameValues
from voxtell_dicom.errors import Refusal
from voxtell_dicom.series.headers import assemble
from voxtell_dicom.series.volume import to_ras


@pytest.mark.parametrize("slope", ["0.1", "1", "1.0038147"])
def test_the_same_to_the_last_bit(tmp_path: Path, slope: str) -> None:
    """0.1: reports computed in float32, the model's array in float64."""
    stack = slices.stack(slices.noise((4, 20, 30)), RescaleSlope=slope, RescaleIntercept="-1024.3")
    (volume,) = assemble(slices.save(stack, tmp_path)).volumes
    measured = np.stack([values for _, values in FrameValues(volume, HeaderSource()).of({0, 1, 2, 3})])
    assert np.array_equal(np.sort(measured.ravel()), np.sort(to_ras(volume).ravel()))


def test_what_stands_beside_the_values_in_their_words_is_none_of_them(tmp_path: Path) -> None:
    stored = slices.noise((3, 20, 30)) | 0x3000  # two bits above Bits Stored
    (volume,) = assemble(slices.save(slices.stack(stored), tmp_path)).volumes
    measured = np.stack([values for _, values in FrameValues(volume, HeaderSource()).of({0, 1, 2})])
    assert np.array_equal(np.sort(measured.ravel()), np.sort(to_ras(volume).ravel()))


def test_what_the_model_is_refused_no_report_measures(tmp_path: Path) -> None:
    """0.1: a slope of 0, or one of two numbers, was measured."""
    (volume,) = assemble(slices.save(slices.stack(slices.noise((3, 20, 30))), tmp_path)).volumes
    slices.save(slices.stack(slices.noise((3, 20, 30)), RescaleSlope=None), tmp_path)
    with pytest.raises(Refusal, match="Rescale Slope"):
        list(FrameValues(volume, HeaderSource()).of({0}))

"""The values that outputs measure and show: of the model's array where it is still here, else decoded, the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.series import slices
from tests.series.stacks import steps
from voxtell_dicom.dicom.headers import HeaderSource
from voxtell_dicom.dicom.pixels import decode
from voxtell_dicom.encode.common.frame_values import FrameValues
from voxtell_dicom.line.load import load_runs
from voxtell_dicom.series.headers import assemble

TILT = {"spacing": (3.0, 0.5, 0.5), "step": (0.0, 1.5, 3.0)}
CASES: dict[str, dict[str, Any]] = {
    "axial": {},
    "coronal": {"orientation": slices.CORONAL},
    "sagittal": {"orientation": slices.SAGITTAL},
    "prone": {"orientation": (-1, 0, 0, 0, -1, 0)},
    "tilted": TILT,
    "fractions": {"RescaleSlope": "0.37", "RescaleIntercept": "-3.5"},
}


@pytest.mark.parametrize("case", [*CASES, "two runs"])
def test_the_array_of_the_model_has_the_values_of_the_frames(tmp_path: Path, case: str) -> None:
    stack = slices.stack(slices.noise((40, 24, 20)), **CASES.get(case, {}))
    if case == "two runs":
        places = steps((22, 2), (18, 3))
        for ds, place in zip(stack, places, strict=True):
            ds.ImagePositionPatient = [-10, -20, 2 * place]
    assembly = assemble(slices.save(stack, tmp_path / "series"))
    loaded, refused = load_runs(assembly.volumes, tmp_path / "work")
    assert loaded
    assert not refused
    volume, arrays = loaded
    assert len(arrays) == (2 if case == "two runs" else 1)
    wanted = set(range(len(volume.frames)))
    from_arrays = dict(FrameValues(volume, HeaderSource(), arrays=arrays).of(wanted))
    for index, frame in enumerate(volume.frames):
        ((stored, rescale),) = decode(frame.path, [frame.number])
        assert np.array_equal(from_arrays[index], rescale.real(stored))
    arrays[0].unlink()
    decoded = dict(FrameValues(volume, HeaderSource(), arrays=arrays).of(wanted))
    assert all(np.array_equal(decoded[index], from_arrays[index]) for index in wanted)

"""What the self-check finds travels to publish, and decides whether a result may leave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.series import slices
from voxtell_dicom.check import findings
from voxtell_dicom.check.selfcheck import Finding
from voxtell_dicom.config import OnWarning
from voxtell_dicom.line.masks import findings_path, load_findings, save_findings
from voxtell_dicom.model import Found, Mask, Prompt, Volume
from voxtell_dicom.series.headers import assemble
from voxtell_dicom.series.volume import to_ras

EDGE = Finding("edge", "liver", "liver: touches the last slice")
SIDE = Finding("laterality", "left kidney", "left kidney: its centre lies on the right")


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    stored = np.zeros((12, 60, 100), np.uint16)
    stored[:, 10:50, 10:90] = 1064
    series = slices.save(slices.stack(stored, spacing=(5.0, 5.0, 4.0), origin=(-198, -150, 0)), tmp_path / "series")
    return assemble(series).volumes[0]


def test_checked_saved_and_loaded(volume: Volume, tmp_path: Path) -> None:
    np.save(tmp_path / "array.npy", to_ras(volume))
    mask = np.zeros(volume.grid.shape, bool)
    mask[4:8, 20:30, 15:30] = True  # the patient's right
    found = [Found(Prompt("left adrenal gland", "Left adrenal"), Mask.from_array(mask))]
    against = findings.check(found, volume, [tmp_path / "array.npy"])
    assert [finding.kind for finding in against] == ["laterality"]
    masks = tmp_path / "job.found.json"
    assert load_findings(masks) == ()
    save_findings(masks, against)
    assert load_findings(masks) == against
    assert findings_path(masks) != masks
    assert any("laterality" in warning for warning in findings.noted(volume, against).warnings)
    assert findings.check(found, volume, [tmp_path / "gone.npy"]) == ()  # no array, no midline


@pytest.mark.parametrize(
    ("against", "on_warning", "action"),
    [
        ([], {}, "deliver"),
        ([EDGE], {}, "deliver"),
        ([EDGE, SIDE], {}, "hold"),
        ([SIDE], {"laterality": "deliver"}, "deliver"),
        ([EDGE], {"edge": "hold"}, "hold"),
        ([EDGE, SIDE], {"edge": "drop"}, "drop"),
    ],
)
def test_verdict(against: list[Finding], on_warning: dict[str, str], action: str) -> None:
    found, why = findings.verdict(against, OnWarning(**on_warning).model_dump())
    assert found == action
    assert bool(why) == (action != "deliver")

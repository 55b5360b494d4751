"""The truth through the whole line: the SEG, decoded by dcmqi, is the analytic anatomy on the source frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.encode import made
from tests.series.slices import from_frames, series_in
from voxtell_dicom.check.selfcheck import self_check
from voxtell_dicom.encode import OutputContext, encode_seg
from voxtell_dicom.model import Found, Mask, Plan, Prompt
from voxtell_dicom.phantom.acquisition import Acquisition
from voxtell_dicom.phantom.anatomy import torso
from voxtell_dicom.phantom.truth import truth_mask
from voxtell_dicom.phantom.writer import write_series
from voxtell_dicom.series.headers import assemble
from voxtell_dicom.series.volume import load_volume, to_frames
from voxtell_dicom.verify.readback import seg_frames, source_position

LABELS = ("liver", "spleen", "right kidney", "left kidney", "urinary bladder")
COARSE = {"slice_spacing_mm": 9.0, "pixel_spacing_mm": (6.0, 6.0)}
ACQUISITIONS = {
    "axial": Acquisition(**COARSE),
    "descending": Acquisition(descending=True, **COARSE),
    "sagittal": Acquisition(plane="sagittal", **COARSE),
    "coronal": Acquisition(plane="coronal", **COARSE),
    "oblique": Acquisition(turn_deg=(12.0, -17.0, 8.0), **COARSE),
    "feet-first": Acquisition(position="FFS", **COARSE),
    "prone": Acquisition(position="HFP", **COARSE),
    "anisotropic": Acquisition(slice_spacing_mm=10.0, pixel_spacing_mm=(3.0, 5.0)),
    "duplicated": Acquisition(duplicated=(4,), **COARSE),
    "tilted": Acquisition(tilt_deg=18.0, **COARSE),
}


@pytest.mark.parametrize("name", ACQUISITIONS)
def test_truth(name: str, tmp_path: Path) -> None:
    anatomy = torso(5)
    write_series(anatomy, ACQUISITIONS[name], tmp_path / "series")
    assembly = assemble(series_in(tmp_path / "series"))
    (volume,) = assembly.volumes
    assert {item.code for item in assembly.set_aside} <= {"duplicate"}
    _, volume = load_volume(volume)
    prompts = tuple(Prompt(label, label) for label in LABELS)
    truth = [truth_mask(anatomy, label, volume) for label in LABELS]
    on_ras = [from_frames(Mask.from_array(mask), volume) for mask in truth]
    found = [Found(prompt, to_frames(mask, volume)) for prompt, mask in zip(prompts, on_ras, strict=True)]
    assert not [one for one in self_check(found, volume, midline_mm=0.0) if one.kind in ("laterality", "pair", "empty")]

    plan = Plan(volume.key, "truth", 0, prompts, ("seg",), (), "truth", "1")
    result = encode_seg(OutputContext(plan, volume, found, directory=tmp_path))
    assert result is not None
    index = {(frame.sop_instance_uid, frame.number): i for i, frame in enumerate(volume.frames)}
    decoded = [np.zeros(volume.grid.shape, bool) for _ in LABELS]
    for frame in seg_frames(result.path):
        source = volume.frames[index[frame.source_uid, frame.source_frame]]
        assert np.abs(np.subtract(frame.position_mm, source_position(source.path, source.number))).max() < 0.001
        decoded[frame.segment - 1][index[frame.source_uid, frame.source_frame]] = frame.mask
    for ours, true in zip(decoded, truth, strict=True):
        np.testing.assert_array_equal(ours, true)
    if name != "tilted":  # dcmqi drops the shear silently: the comparison above stands for it
        points = made.dcmqi_points(result.path, tmp_path / "dcmqi")
        assert points == [made.true_points(true, volume) for true in truth]
    right = np.argwhere(truth[2]).mean(axis=0)  # the right kidney is right (LPS: small x) in patient coordinates
    left = np.argwhere(truth[3]).mean(axis=0)
    steps = np.array((volume.grid.normal, volume.grid.column_cosine, volume.grid.row_cosine))
    across = ((right - left) * volume.grid.spacing_mm) @ steps
    assert across[0] < -50

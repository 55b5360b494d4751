"""Every case of the corpus is handled, set aside or refused as its line says; and handled ones are decoded right."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pydicom
import pytest

from tests.series import multiframe_cases, strange_cases  # noqa: F401 - adds its cases
from tests.series.cases import CASES, Case
from voxtell_dicom.errors import Refusal
from voxtell_dicom.model import Assembly, Mask, SetAside
from voxtell_dicom.series.headers import assemble
from voxtell_dicom.series.volume import load_volume, to_frames
from voxtell_dicom.verify import readback


def outcome(case: Case, folder: Path) -> Assembly:
    """Return what a series is; a volume that cannot be decoded counts as refused, as it is in the end."""
    try:
        found = assemble(case.write(folder))
    except Refusal as refusal:
        return Assembly((), (_refused(refusal),))
    volumes, aside = [], list(found.set_aside)
    for volume in found.volumes:
        try:
            volumes.append(load_volume(volume)[1])
        except Refusal as refusal:
            aside.append(_refused(refusal))
    return Assembly(tuple(volumes), tuple(aside))


def _refused(refusal: Refusal) -> SetAside:
    return SetAside(refusal.code, str(refusal), (refusal.uid,), refused=True)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case, tmp_path: Path) -> None:
    found = outcome(case, tmp_path)
    assert sorted((volume.name, len(volume.frames)) for volume in found.volumes) == sorted(case.handled)
    assert sorted(item.code for item in found.set_aside if not item.refused) == sorted(case.set_aside)
    assert sorted(item.code for item in found.set_aside if item.refused) == sorted(case.refused)
    said = {warning.split(":")[0] for volume in found.volumes for warning in volume.warnings}
    assert said == set(case.warnings)
    for volume in found.volumes:
        array, keyed = load_volume(volume)
        assert len(keyed.key) == 64
        threshold = float(np.median(array)) + 0.01
        mask = to_frames(Mask.from_array(array > threshold), volume).to_array(volume.grid.shape)
        assert mask.any()
        for index, frame in enumerate(volume.frames):  # by pydicom alone
            assert pydicom.dcmread(frame.path, stop_before_pixels=True).SOPInstanceUID == frame.sop_instance_uid
            np.testing.assert_array_equal(mask[index], readback.source_values(frame.path, frame.number) > threshold)


@pytest.mark.parametrize("case", [case for case in CASES if case.refused], ids=lambda case: case.name)
def test_refusals_name_the_uid_and_the_tag(case: Case, tmp_path: Path) -> None:
    for item in outcome(case, tmp_path).set_aside:
        if item.refused:
            assert "2.25.1234567890" in item.reason or any(uid in item.reason for uid in item.uids)
            assert re.search(r"\([0-9A-F]{4},[0-9A-F]{4}\)", item.reason) or item.code == "single-slice"
            assert item.uids
            assert "T1" not in item.reason.split()  # no Patient ID in a message

"""What a plan's outputs become."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from tests.encode import made
from voxtell_dicom.config import Config
from voxtell_dicom.encode import encode, output_context

CONFIG = Config.model_validate({"version": 1, "model": {"engine": "phantom"}})


@pytest.mark.parametrize(
    ("outputs", "kinds"),
    [
        (("seg",), ["seg"]),
        (("sr",), ["seg", "sr"]),
        (("rtstruct",), ["rtstruct"]),
        (("labelmap",), ["labelmap"]),
        (("overlay",), ["overlay"] * 6),
        (("seg", "sr", "rtstruct", "labelmap", "secondary"), ["seg", "sr", "labelmap", "rtstruct", "secondary"]),
    ],
)
def test_outputs(tmp_path: Path, outputs: tuple[str, ...], kinds: list[str]) -> None:
    volume = made.volume(tmp_path / "s")
    plan = made.plan(["liver", "spleen"], outputs=outputs)
    found = made.found(plan, made.masks(volume.grid.shape, 2))
    results = encode(output_context(plan, volume, found, config=CONFIG, directory=tmp_path / "out"), CONFIG)
    assert [result.kind for result in results] == kinds
    uids = {uid for result in results for uid in (result.sop_instance_uid, result.series_uid)}
    assert len(uids) == len(kinds) + len(set(kinds)), "instances, and a series for each kind"
    assert all(len(uid) <= 64 for uid in uids)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {result.path.name for result in results}
    assert encode(output_context(plan, volume, found, config=CONFIG, directory=tmp_path / "out"), CONFIG) == results


def test_values_that_their_vr_does_not_allow_stand_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a scanner wrote them: text where Table Speed (0018,9309) is a double, at the top and within a carried item."""
    volume = made.volume(tmp_path / "s")
    for frame in volume.frames:
        ds = pydicom.dcmread(frame.path)
        other = Dataset()
        other.PatientID, other.TypeOfPatientID = "P2", "TEXT"
        ds.OtherPatientIDsSequence = [other]
        with monkeypatch.context() as patch:
            patch.setattr(pydicom.config, "replace_un_with_known_vr", False)
            for one in (ds, other):
                one.add_new("TableSpeed", "UN", b"0.663 ")  # read again, it gets the VR of its tag
            ds.save_as(frame.path)
    plan = made.plan(["liver"], outputs=("seg", "sr", "rtstruct", "labelmap", "secondary"))
    found = made.found(plan, made.masks(volume.grid.shape, 1))
    for result in encode(output_context(plan, volume, found, config=CONFIG, directory=tmp_path / "out"), CONFIG):
        assert pydicom.dcmread(result.path).OtherPatientIDsSequence[0].PatientID == "P2"


def test_nothing_found_is_nothing_made(tmp_path: Path) -> None:
    volume = made.volume(tmp_path / "s")
    plan = made.plan(["liver"], outputs=("seg", "sr", "rtstruct"))
    empty = made.masks(volume.grid.shape, 1)
    empty[0][:] = False
    assert (
        encode(output_context(plan, volume, made.found(plan, empty), config=CONFIG, directory=tmp_path / "out"), CONFIG)
        == []
    )

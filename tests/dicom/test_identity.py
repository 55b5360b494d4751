"""One check of identity and one version of a series."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from tests.encode import made
from tests.series import slices
from voxtell_dicom.cli.folder import series_in
from voxtell_dicom.dicom.headers import HeaderSource
from voxtell_dicom.dicom.identity import require_one_value, series_version
from voxtell_dicom.encode.common.sources import read_sources
from voxtell_dicom.errors import Refusal
from voxtell_dicom.series.headers import assemble

SEG = "1.2.840.10008.5.1.4.1.1.66.4"


def test_a_folder_has_the_version_that_the_node_gives(tmp_path: Path) -> None:
    """0.1: another formula, and results that lie beside the images changed it."""
    stack = slices.stack(slices.noise((3, 8, 8)))
    result = slices.make(slices.noise((1, 8, 8))[0], (0, 0, 0), SOPClassUID=SEG)
    slices.save([*stack, result], tmp_path)
    uids = [str(ds.SOPInstanceUID) for ds in stack]
    (series,) = series_in(tmp_path)
    assert len(series.instances) == 4
    assert series.version == series_version([*uids, uids[0]])
    assert series.version == hashlib.sha256("\n".join(sorted(uids)).encode()).hexdigest()  # of taken.jsonl of 0.1
    assert series_version([]) == ""


def test_a_message_names_the_attribute_and_two_instances_not_the_patient(tmp_path: Path) -> None:
    def spoil(ds: Dataset, index: int) -> None:
        ds.PatientID = "SECRET" if index == 2 else "OTHER"

    stack = slices.stack(slices.noise((3, 8, 8)), edit=spoil)
    with pytest.raises(Refusal) as of_series:
        assemble(slices.save(stack, tmp_path / "series"))
    volume = made.volume(tmp_path / "source", PatientID=lambda index: "SECRET" if index == 3 else "OTHER")
    with pytest.raises(Refusal) as of_sources:
        read_sources(volume, HeaderSource())
    first, *_, last = (frame.sop_instance_uid for frame in volume.frames[:4])
    for raised, uids in (
        (of_series, (stack[2].SOPInstanceUID,)),
        (of_sources, (first, last)),
    ):
        said = str(raised.value)
        assert raised.value.code == "mixed-patients"
        assert "2 different values of Patient ID (0010,0020), in instances " in said
        assert all(uid in said for uid in uids)
        assert not {"SECRET", "OTHER"} & {*said.split()}


def test_blanks_and_empty_components_are_no_difference() -> None:
    require_one_value(
        "2.25.1", "PatientName", [("2.25.2", "Doe^Jane"), ("2.25.3", " Doe^Jane^ "), ("2.25.4", "Doe^Jane\0")]
    )


def test_studies_are_shown_since_they_are_uids() -> None:
    with pytest.raises(Refusal, match=r"2.25.2 and 2.25.3: 2.25.8, 2.25.9; do this") as raised:
        require_one_value("2.25.1", "StudyInstanceUID", [("2.25.2", "2.25.9"), ("2.25.3", "2.25.8")], advice="do this")
    assert (raised.value.code, raised.value.uid) == ("mixed-studies", "2.25.1")

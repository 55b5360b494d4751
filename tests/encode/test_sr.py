"""The report, read back by highdicom and pydicom, and held against dciodvfy."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest

from tests.encode import made
from voxtell_dicom.encode import OutputContext, encode_seg
from voxtell_dicom.encode.report.sr import encode_sr
from voxtell_dicom.model import Found, Result, Volume

TEXTS = ("liver", "left kidney tumour", "nothing", "something with no code")


def encoded(folder: Path, **attributes: object) -> tuple[Result, Result, Volume, list[Found]]:
    values = np.random.default_rng(0).integers(-100, 300, (6, 20, 24)).astype(np.int16)
    volume = made.volume(folder / "s", values=values, **attributes)  # type: ignore[arg-type]
    plan = made.plan(TEXTS)
    arrays = made.masks(volume.grid.shape, 4)
    arrays[2][:] = False
    found = made.found(plan, arrays)
    found[0] = replace(found[0], mean_probability=0.91, uncertain_share=0.07)
    seg = encode_seg(OutputContext(plan, volume, found, directory=folder))
    assert seg is not None
    return encode_sr(OutputContext(plan, volume, found, directory=folder), [seg]), seg, volume, found


def test_every_measurement_comes_back(tmp_path: Path) -> None:
    sr, seg, volume, found = encoded(tmp_path)
    report = highdicom.sr.srread(sr.path)
    groups = report.content.get_volumetric_roi_measurement_groups()
    kept = [item for item in found if item.mask.voxels]
    segments = pydicom.dcmread(seg.path).SegmentSequence
    assert len(groups) == len(kept) == len(segments)
    for group, item, segment in zip(groups, kept, segments, strict=True):
        assert group.tracking_uid == segment.TrackingUID
        assert group.tracking_identifier == segment.TrackingID
        assert group.finding_type.value == segment.SegmentedPropertyTypeCodeSequence[0].CodeValue
        (reference,) = (
            content.ReferencedSOPSequence[0]
            for content in group[0].ContentSequence
            if content.ValueType == "IMAGE" and "ReferencedSegmentNumber" in content.ReferencedSOPSequence[0]
        )
        assert reference.ReferencedSOPInstanceUID == seg.sop_instance_uid
        assert reference.ReferencedSegmentNumber == segment.SegmentNumber
        values = {
            (m.name.value, m.derivation.value if m.derivation else ""): (m.value, m.unit.value)
            for m in group.get_measurements()
        }
        voxel_ml = np.prod(volume.grid.spacing_mm) / 1000
        assert values["118565006", ""] == (pytest.approx(item.mask.voxels * voxel_ml, rel=6e-4), "mL")
        inside = np.concatenate(
            [
                pydicom.dcmread(frame.path).pixel_array[array]
                for frame, array in zip(volume.frames, item.mask.to_array(volume.grid.shape), strict=True)
            ]
        )
        assert values["112031", "373098007"] == (pytest.approx(inside.mean(), rel=6e-4), "[hnsf'U]")
        assert values["112031", "56851009"][0] == inside.max()
        assert values["103339001", ""][1] == "mm"
        assert (("MEAN_PROBABILITY", "") in values) == (item.mean_probability is not None)


def test_each_group_and_each_measurement_has_an_observation_uid(tmp_path: Path) -> None:
    sr, _, _, _ = encoded(tmp_path)
    report = highdicom.sr.srread(sr.path)
    groups = report.content.get_volumetric_roi_measurement_groups()
    containers = [group[0] for group in groups]
    numbers = [item for each in containers for item in each.ContentSequence if item.ValueType == "NUM"]
    assert len(containers) == 3
    assert len(numbers) > 3 * 10
    uids = [str(item.ObservationUID) for item in (*containers, *numbers)]
    assert len(set(uids)) == len(uids)
    assert all(len(uid) <= 64 for uid in uids)


def test_it_is_valid_and_of_the_same_patient(tmp_path: Path) -> None:
    sr, seg, volume, _ = encoded(tmp_path, PatientName="Müller^Ä", SpecificCharacterSet="ISO_IR 100")
    assert made.dciodvfy(sr.path) == []
    ds, other = pydicom.dcmread(sr.path), pydicom.dcmread(seg.path)
    assert ds.Modality == "SR"
    assert ds.VerificationFlag == "UNVERIFIED"
    assert ds.SeriesDescription == "AI RESEARCH abdomen report [3 of 4 structures]"
    assert other.SeriesDescription == "AI RESEARCH abdomen SEG [3 of 4 structures]"
    assert str(ds.PatientName) == "Müller^Ä"
    assert ds.SeriesInstanceUID != other.SeriesInstanceUID
    assert ds.DeviceUID == other.DeviceUID
    files = [sr.path, seg.path, *(frame.path for frame in volume.frames)]
    run = subprocess.run(["dcentvfy", *map(str, files)], capture_output=True, text=True, timeout=60)
    assert "Error" not in run.stdout + run.stderr
    named = {
        str(instance.ReferencedSOPInstanceUID)
        for study in ds.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    }
    assert seg.sop_instance_uid in named


def test_it_is_made_once(tmp_path: Path) -> None:
    sr, seg, volume, found = encoded(tmp_path)
    data = sr.path.read_bytes()
    assert encode_sr(OutputContext(made.plan(TEXTS), volume, found, directory=tmp_path), [seg]) == sr
    assert sr.path.read_bytes() == data

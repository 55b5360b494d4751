"""Results of cone beam CT and SPECT: valid to dciodvfy, on the very source frames, without units that nobody stated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from tests.encode import made
from tests.encode.test_matrix import KNOWN_MISTAKES, OUTPUTS
from tests.series.cases import CASES
from tests.series.modality_cases import OBLIQUE
from voxtell_dicom.config import Config
from voxtell_dicom.encode import encode, output_context
from voxtell_dicom.series.headers import assemble
from voxtell_dicom.series.volume import load_volume

CONFIG = Config.model_validate({"version": 1, "model": {"engine": "threshold"}, "peers": {}, "rules": []})
NAMES = ("x-ray-3d-angiographic", "x-ray-3d-craniofacial", "nm-recon-tomo", "nm-negative", "nm-single-frames")


def units(items: list[Dataset]) -> set[str]:
    """Return the units of all measurements of a report."""
    found: set[str] = set()
    for content in items:
        for value in content.get("MeasuredValueSequence") or []:
            found.add(value.MeasurementUnitsCodeSequence[0].CodeValue)
        found |= units(list(content.get("ContentSequence") or []))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_results(name: str, tmp_path: Path) -> None:
    (case,) = [case for case in CASES if case.name == name]
    (volume,) = assemble(case.write(tmp_path / "series")).volumes
    _, volume = load_volume(volume)
    source = pydicom.dcmread(volume.frames[0].path, stop_before_pixels=True)
    plan = made.plan(["liver", "spleen"], outputs=OUTPUTS)
    masks = made.masks(volume.grid.shape, 2)
    context = output_context(plan, volume, made.found(plan, masks), config=CONFIG, directory=tmp_path / "out")
    results = encode(context, CONFIG)
    assert {result.kind for result in results} == set(OUTPUTS)
    for result in results:
        forgiven = [line for sop_class, line, _ in KNOWN_MISTAKES if sop_class == result.sop_class_uid]
        errors = made.dciodvfy(result.path)
        assert [line for line in errors if not line.startswith(tuple(forgiven))] == [], result.kind
        ds = pydicom.dcmread(result.path)
        assert (ds.PatientID, ds.StudyInstanceUID) == (source.PatientID, source.StudyInstanceUID)
        if result.kind == "sr":
            assert units(list(ds.ContentSequence)) & {"mL", "mm"}
            assert not units(list(ds.ContentSequence)) & {"[hnsf'U]", "{SUVbw}g/ml"}
        if result.kind != "seg":
            continue
        assert ds.FrameOfReferenceUID == source.FrameOfReferenceUID
        if "oblique" in case.line:
            stated = ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient
            assert [float(value) for value in stated] == pytest.approx(OBLIQUE)
        for number, mask in made.decoded(result.path, volume).items():  # by its references and positions
            np.testing.assert_array_equal(mask, masks[number - 1])
        references = [
            item.DerivationImageSequence[0].SourceImageSequence[0] for item in ds.PerFrameFunctionalGroupsSequence
        ]
        assert {item.ReferencedSOPClassUID for item in references} == {source.SOPClassUID}
        assert {"ReferencedFrameNumber" in item for item in references} == {source.NumberOfFrames > 1}

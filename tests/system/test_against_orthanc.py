"""The main line against a real PACS: a CT sent by storescu comes back to Orthanc as a SEG that others can read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from tests.system.made_series import OBLIQUE, write_ct
from tests.system.node_process import NodeProcess
from tests.system.peers.dcmtk import storescu
from tests.system.peers.orthanc import Orthanc
from tests.system.seg_check import (
    assert_is_threshold,
    dciodvfy_errors,
    patient_voxels,
    seg_frames,
    sort_points,
    source_values,
)
from voxtell_dicom.phantom import demo_acquisition, torso, write_series

SAGITTAL = (0, 1, 0, 0, 0, -1)
CORONAL = (1, 0, 0, 0, 0, -1)


@pytest.fixture(scope="module", params=["C-STORE", "STOW-RS"])
def node(request: pytest.FixtureRequest, orthanc: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> NodeProcess:
    peer = orthanc.dimse_settings if request.param == "C-STORE" else orthanc.web_settings
    with NodeProcess(tmp_path_factory.mktemp("node"), peers={"pacs": peer}) as running:
        yield running


@pytest.mark.parametrize(
    "orientation", [(1, 0, 0, 0, 1, 0), OBLIQUE, SAGITTAL, CORONAL], ids=["axial", "oblique", "sagittal", "coronal"]
)
def test_the_seg_comes_back_in_the_same_study(
    node: NodeProcess, orthanc: Orthanc, tmp_path: Path, orientation: tuple[float, ...]
) -> None:
    files = write_ct(tmp_path / "ct", orientation=orientation)
    source = pydicom.dcmread(files[0])
    storescu(files, node.port)
    (instance,) = orthanc.wait_for(1, study_uid=source.StudyInstanceUID)
    data = orthanc.download(instance)
    seg = assert_is_threshold(data, files, lambda hu: hu > 300)
    assert seg.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert seg.PatientID == source.PatientID
    assert seg.AccessionNumber == source.AccessionNumber
    assert "TEST - NOT FOR PATIENTS" in seg.SeriesDescription
    assert "TEST - NOT FOR PATIENTS" in seg.SegmentSequence[0].SegmentLabel
    path = tmp_path / "seg.dcm"
    path.write_bytes(data)
    assert dciodvfy_errors(path) == []
    assert np.array_equal(dcmqi_voxels(path, tmp_path / "dcmqi"), patient_voxels(seg_frames(seg), files))
    expected = {key: hu > 300 for key, hu in source_values(files).items()}
    assert np.array_equal(dcmqi_voxels(path, tmp_path / "dcmqi"), patient_voxels(expected, files))


def test_a_phantom_comes_back(node: NodeProcess, orthanc: Orthanc, tmp_path: Path) -> None:
    files = write_series(torso(3), demo_acquisition(3), tmp_path / "phantom")
    storescu(files, node.port)
    (instance,) = orthanc.wait_for(1, study_uid=pydicom.dcmread(files[0]).StudyInstanceUID)
    assert_is_threshold(orthanc.download(instance), files, lambda hu: hu > 300)


def dcmqi_voxels(seg: Path, folder: Path) -> np.ndarray:
    """The centres of the set voxels as dcmqi decodes them, in patient space (ITK's is DICOM's LPS)."""
    folder.mkdir(exist_ok=True)
    program = Path(sys.executable).with_name("segimage2itkimage")
    command = [program, "--inputDICOM", seg, "--outputDirectory", folder, "-p", "seg", "-t", "nrrd"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    image = sitk.ReadImage(str(folder / "seg-1.nrrd"))
    slices, rows, columns = np.nonzero(sitk.GetArrayFromImage(image))
    axes = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    return sort_points(np.array(image.GetOrigin()) + np.stack([columns, rows, slices], 1) @ axes.T)

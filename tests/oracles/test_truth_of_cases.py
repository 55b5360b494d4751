"""Every handled case of the corpus with the truth for masks: the delivered SEG is the analytic anatomy on its frames.

Decoded twice: by dcmqi, as points in the patient, and frame by frame with pydicom alone. The truth is sampled at the
voxel centres that the source headers state, read here, not by the code under test.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import NuclearMedicineImageStorage

from tests.encode import made
from tests.series import multiframe_cases, strange_cases  # noqa: F401 - add their cases
from tests.series.cases import CASES, Case
from tests.series.slices import from_frames
from voxtell_dicom.config import Peer
from voxtell_dicom.deliver import deliver
from voxtell_dicom.encode import OutputContext, encode_seg
from voxtell_dicom.model import Found, Mask, Plan, Prompt, Volume
from voxtell_dicom.phantom.anatomy import Anatomy, Organ, label_mask
from voxtell_dicom.phantom.shapes import Ellipsoid, vector
from voxtell_dicom.phantom.truth import truth_mask
from voxtell_dicom.series.headers import assemble
from voxtell_dicom.series.joined import joined, stacks_of
from voxtell_dicom.series.volume import all_to_frames, load_volume
from voxtell_dicom.verify.readback import seg_frames

WANTED = ("liver", "spleen", "left kidney")
HANDLED = [case for case in CASES if case.handled]
MENDED = {case.name for case in HANDLED if "orientation" in case.warnings}  # directions are not quite the source's
# dcmqi lays the frames on one regular, rectangular grid: what lies otherwise it moves, silently. Only the frames count.
NOT_BY_DCMQI = MENDED | {case.name for case in HANDLED if {"tilt", "uneven-spacing"} & set(case.warnings)}


def centres(volume: Volume) -> npt.NDArray[np.float64]:
    """(frame, row, column, 3): where the source headers place the voxel centres, LPS mm (PS3.3 C.7.6.2.1.1)."""
    planes = []
    for frame in volume.frames:
        ds = pydicom.dcmread(frame.path, stop_before_pixels=True)
        position = _attribute(ds, frame.number, "PlanePositionSequence", "ImagePositionPatient")
        if ds.SOPClassUID == NuclearMedicineImageStorage:
            position = position + _nuclear_offset(ds, frame.number)
        orientation = _attribute(ds, frame.number, "PlaneOrientationSequence", "ImageOrientationPatient")
        spacing = _attribute(ds, frame.number, "PixelMeasuresSequence", "PixelSpacing")
        rows, columns = np.indices((ds.Rows, ds.Columns))[..., None]
        planes.append(position + columns * spacing[1] * orientation[:3] + rows * spacing[0] * orientation[3:])
    return np.stack(planes)


def _attribute(ds: Dataset, frame: int, group: str, keyword: str) -> npt.NDArray[np.float64]:
    places = [*ds.get("DetectorInformationSequence", []), ds]
    if "PerFrameFunctionalGroupsSequence" in ds:
        shared = list(ds.get("SharedFunctionalGroupsSequence") or [])[:1]
        groups = [ds.PerFrameFunctionalGroupsSequence[frame - 1], *shared]
        places = [item for one in groups for item in one.get(group, [])]
    values = next(getattr(item, keyword) for item in places if keyword in item)
    return np.array([float(value) for value in values])


def _nuclear_offset(ds: Dataset, frame: int) -> npt.NDArray[np.float64]:
    """From the first frame of an NM image (PS3.3 C.8.4.15): slices follow along the normal, or against it."""
    row, column = np.reshape([float(v) for v in ds.DetectorInformationSequence[0].ImageOrientationPatient], (2, 3))
    number = np.atleast_1d(ds.SliceVector)[frame - 1]
    return np.asarray((number - 1) * float(ds.SpacingBetweenSlices) * np.cross(row, column))


def anatomy_in(points: npt.NDArray[np.float64]) -> Anatomy:
    """Organs that are no mirror images of themselves or one another, where the volume lies."""
    flat = points.reshape(-1, 3)
    low, high = flat.min(axis=0), flat.max(axis=0)
    middle, half = (low + high) / 2, (high - low) / 2 + 1e-3

    def organ(tissue: str, where: tuple[float, ...], size: tuple[float, ...]) -> Organ:
        solid = Ellipsoid(vector(middle + half * where), vector(half * size), (0.0, 0.0, 0.0))
        return Organ(tissue, solid)

    return Anatomy(
        1,
        (
            organ("skin", (0, 0, 0), (4, 4, 4)),
            organ("liver", (-0.37, 0.23, 0.31), (0.53, 0.61, 0.97)),
            organ("spleen", (0.51, 0.33, -0.41), (0.41, 0.47, 0.83)),
            organ("left kidney", (0.29, -0.53, 0.17), (0.57, 0.39, 1.07)),
        ),
        {},
        0.0,
    )


@pytest.mark.parametrize("case", HANDLED, ids=lambda case: case.name)
def test_truth(case: Case, tmp_path: Path) -> None:
    volumes = assemble(case.write(tmp_path / "series")).volumes
    assert len(volumes) == len(case.handled)
    for number, positions in enumerate(stacks_of(volumes)):
        _check(case, [volumes[position] for position in positions], tmp_path / str(number))


def _check(case: Case, runs: list[Volume], folder: Path) -> None:
    """One volume, or the runs of a stack as one result."""
    folder.mkdir()
    loaded = [load_volume(run) for run in runs]
    volume = joined([run for _, run in loaded])
    points = centres(volume)
    anatomy = anatomy_in(points)
    truth = [label_mask(anatomy.sample(points), label) for label in WANTED]
    if case.name in MENDED:
        truth = [truth_mask(anatomy, label, volume) for label in WANTED]
    assert all(0 < mask.sum() < mask.size / 2 for mask in truth)

    masks: dict[str, list[Mask]] = {label: [] for label in WANTED}
    for run in volume.runs:
        for label in WANTED:
            masks[label].append(from_frames(Mask.from_array(truth_mask(anatomy, label, run)), run))
    found = [Found(Prompt(label, label), all_to_frames(masks[label], volume)) for label in WANTED]
    plan = Plan(volume.key, case.name, 0, tuple(f.prompt for f in found), ("seg",), (), "truth", "1")
    result = encode_seg(OutputContext(plan, volume, found, directory=folder))
    assert result is not None
    outcome = deliver(result, Peer(folder=folder / "delivered"), calling_ae="TEST", name="folder")
    assert outcome.state == "delivered"
    delivered = folder / "delivered" / f"{result.sop_instance_uid}.dcm"

    index = {(frame.sop_instance_uid, frame.number): i for i, frame in enumerate(volume.frames)}
    decoded = [np.zeros_like(mask) for mask in truth]
    for frame in seg_frames(delivered):
        place = index[frame.source_uid, frame.source_frame]
        assert np.abs(points[place, 0, 0] - frame.position_mm).max() < 0.001
        decoded[frame.segment - 1][place] = frame.mask
    for label, ours, true in zip(WANTED, decoded, truth, strict=True):
        np.testing.assert_array_equal(ours, true, err_msg=label)
    if case.name not in NOT_BY_DCMQI:
        by_dcmqi = made.dcmqi_points(delivered, folder / "dcmqi")
        assert by_dcmqi == [made.rounded(points[mask]) for mask in truth]
